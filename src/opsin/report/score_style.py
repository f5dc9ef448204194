"""How the page of scores looks: light and dark, on a phone, a desk and paper."""

STYLE = """
:root{color-scheme:light dark;--ink:#1c1e22;--faint:#5f6570;--paper:#fff;--well:#f3f4f6;--line:#e2e5ea;--edge:#b4b9c2;
--accent:#b8431b;--m0:#2a66c8;--m1:#b86e00;--m2:#1a7f4b;--m3:#8a4fc7;--m4:#c2336b;--m5:#0d7d88;--m6:#7d6b00;--m7:#606672}
@media(prefers-color-scheme:dark){:root{--ink:#eceef2;--faint:#a3a9b4;--paper:#16181c;--well:#1f2228;--line:#32363d;
--edge:#5b616b;--accent:#f08a5d;--m0:#6ea4f7;--m1:#e9ae4a;--m2:#4fc38a;--m3:#bb95f2;--m4:#f27fa9;--m5:#4fc2cd;
--m6:#cbb845;--m7:#a3a9b4}}
.m0{--c:var(--m0)}.m1{--c:var(--m1)}.m2{--c:var(--m2)}.m3{--c:var(--m3)}
.m4{--c:var(--m4)}.m5{--c:var(--m5)}.m6{--c:var(--m6)}.m7{--c:var(--m7)}

*{box-sizing:border-box}
html:has(dialog[open]){overflow:hidden}
body{margin:0 auto;max-width:82rem;padding:1.25rem 1rem 3rem;background:var(--paper);color:var(--ink);
font:1rem/1.45 system-ui,sans-serif;font-variant-numeric:tabular-nums;overflow-wrap:break-word}
h1{margin:0;font-size:1.6rem;font-weight:650;line-height:1.2;overflow-wrap:anywhere}
h2{margin:0 0 .4rem;font-size:1.2rem;font-weight:650}
h3,h4{margin:0;font-size:.95rem;font-weight:600}
section{margin:2.6rem 0}
a{color:var(--accent)}
i{font-style:normal;color:var(--faint)}
small{font-size:.8rem;font-weight:400;color:var(--faint)}
.remark,.hint{max-width:50rem;margin:.3rem 0 .9rem;color:var(--faint);font-size:.875rem;text-wrap:pretty}
.name{overflow-wrap:anywhere;unicode-bidi:isolate}
.m{position:relative;display:inline-block;padding-left:1.1em}
.m::before{content:"";position:absolute;left:0;top:.4em;width:.65em;height:.65em;border-radius:50%;background:var(--c)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
button,select,input[type=search]{max-width:100%;min-height:2.1rem;padding:.3rem .6rem;border:1px solid var(--edge);
border-radius:.4rem;background:var(--paper);color:inherit;font:inherit;font-size:.875rem}
button{cursor:pointer}
button:hover{border-color:var(--ink)}
input{accent-color:var(--accent)}
summary{cursor:pointer}
details ul{margin:.4rem 0 .8rem;padding-left:1.2rem}

.lead{margin:.3rem 0 .8rem;color:var(--faint)}
.gone{display:flex;flex-wrap:wrap;gap:.2rem 1.4rem;font-size:.875rem}
.gone summary{color:var(--faint)}
.gone details[open]{flex-basis:100%}
.gone ul{max-height:16rem;overflow:auto}
nav{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;margin-top:.9rem;padding-bottom:.7rem;
border-bottom:1px solid var(--line)}
nav a{font-weight:500;text-decoration:none}
nav a:hover{text-decoration:underline}

.scroll{position:relative;overflow-x:auto}
table{border-collapse:collapse}
th,td{padding:.4rem 1.4rem .4rem 0;border-bottom:1px solid var(--line);font-weight:400;text-align:right;
vertical-align:top;white-space:nowrap}
.scroll th:first-child{position:sticky;left:0;z-index:1;background:var(--paper);text-align:left;white-space:normal}
.scroll th .name{display:inline-block;max-width:20rem;overflow-wrap:break-word}
thead th{padding-bottom:.15rem;vertical-align:bottom;color:var(--faint);font-size:.875rem}
thead button{position:relative;padding:.2rem 0;border:0;background:none;font-weight:500}
thead button:hover{text-decoration:underline}
thead [aria-sort] button{color:var(--ink);font-weight:650}
thead [aria-sort] button::after{content:"\\25B2"/"";position:absolute;left:100%;padding-left:.25em;color:var(--accent);
font-size:.7em;line-height:2.6}
thead [aria-sort=descending] button::after{content:"\\25BC"/""}
td small{display:block}
td b{font-weight:700}

.means{display:flex;flex-wrap:wrap;gap:1rem 3rem}
.means>:first-child{flex:0 1 auto;min-width:0;max-width:100%}
.beside{flex:1 1 20rem;padding-top:.4rem}
#means tbody>tr>*{padding-top:.55rem;padding-bottom:.55rem}
#means td>b,#means td>span{font-size:1.1rem}
#means .more{display:none}
section:has(#more:checked) #means .more{display:block}
.check{display:inline-flex;align-items:center;gap:.4rem;margin:.7rem 0 0;font-size:.875rem;cursor:pointer}

.against{display:grid;gap:.6rem}
.against summary{padding:.2rem 0;font-weight:600}
.against ul{margin:0;padding:0;list-style:none}
.against li{display:grid;grid-template-columns:1fr minmax(8rem,17rem);gap:.2rem 2rem;align-items:center;
padding:.45rem 0;border-bottom:1px solid var(--line)}
.against p{margin:0}
.unclear{color:var(--faint)}
.unclear b{font-weight:400}
svg{display:block;width:100%;overflow:visible}
svg path{fill:none;vector-effect:non-scaling-stroke}
.bar{height:24px}
.bar .zero{stroke:var(--edge)}
.bar .range{stroke:var(--ink);stroke-width:2}
.bar .dot{stroke:var(--ink);stroke-width:9;stroke-linecap:round}
.bar.unclear .range,.bar.unclear .dot{stroke:var(--edge)}

.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1.2rem}
figure{min-width:0;max-width:48rem;margin:0;padding:.8rem 1.1rem 1rem;border:1px solid var(--line);border-radius:.6rem}
figcaption{margin-bottom:.5rem;font-weight:600}
figure .remark{margin:.5rem 0 0;overflow-wrap:anywhere}
.rows{position:relative;padding-bottom:.4rem;border-bottom:1px solid var(--edge)}
.grid{position:absolute;inset:0;pointer-events:none}
.grid i{position:absolute;top:0;bottom:0;border-left:1px solid var(--line)}
.row{position:relative;display:grid;grid-template-columns:1fr auto;gap:0 1rem;padding-top:.5rem;font-size:.85rem}
.row>.m{justify-self:start;padding-right:.3rem}
.row>span{background:var(--paper)}
.row .number{justify-self:end;padding:0 0 0 .3rem}
.row svg,.row p{grid-column:1/-1}
.row svg{height:46px}
.density{fill:var(--c);fill-opacity:.3;stroke:var(--c)}
.whisker{stroke:var(--c);stroke-width:1.5}
.half{stroke:var(--c);stroke-width:8;opacity:.6}
.median{stroke:var(--ink);stroke-width:1.5}
.mean{stroke:var(--ink);stroke-width:2}
.row .dot{stroke:var(--c);stroke-width:7;stroke-linecap:round;stroke-opacity:.75;cursor:pointer}
.row .dot:hover{stroke-width:11;stroke-opacity:1}
.ticks{position:relative;height:1.3rem;color:var(--faint);font-size:.75rem}
.ticks span{position:absolute;top:.2rem;transform:translateX(-50%)}

.tools{display:flex;flex-wrap:wrap;gap:.6rem .9rem;align-items:end;padding:.5rem 0}
.tools label{display:grid;gap:.15rem;min-width:0;color:var(--faint);font-size:.8rem}
.tools select,.tools input{max-width:16rem;color:var(--ink)}
.count{margin:.1rem 0 .6rem;color:var(--faint);font-size:.875rem}
.choice{display:inline-flex}
.choice button{margin-left:-1px;border-radius:0}
.choice button:first-child{margin:0;border-radius:.4rem 0 0 .4rem}
.choice button:last-child{border-radius:0 .4rem .4rem 0}
.choice [aria-pressed=true]{position:relative;border-color:var(--ink);background:var(--ink);color:var(--paper)}

.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,18rem),1fr));gap:1.2rem}
.card{min-width:0;scroll-margin-top:5rem;border:1px solid var(--line);border-radius:.6rem;overflow:hidden}
.card[hidden],.card .others{display:none}
.card h3{display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:2;overflow:hidden}
.stage{--h:15rem;position:relative;display:grid;place-items:center;height:var(--h);background:var(--well);
overflow:hidden}
.pic{position:relative;grid-area:1/1;display:block;width:min(100%,calc(var(--h)*var(--r)));height:auto;
aspect-ratio:var(--r);user-select:none;-webkit-user-drag:none}
.coarse img{image-rendering:pixelated}
.tag{position:absolute;top:.4rem;left:.4rem;max-width:calc(50% - .6rem);padding:.05rem .4rem;border-radius:.3rem;
background:#000b;color:#fff;font-size:.75rem;white-space:nowrap;overflow:hidden;text-overflow:ellipsis;
unicode-bidi:isolate;pointer-events:none}
.tag.result{left:auto;right:.4rem}
.wiper{pointer-events:none}
.wiper input{position:absolute;inset:0;width:100%;height:100%;margin:0;opacity:0}
.wiper span{position:absolute;top:0;bottom:0;left:var(--at,50%);width:2px;margin-left:-1px;background:#fff;
box-shadow:0 0 2px #000c}
.wiper span::after{content:"\\2194"/"";position:absolute;top:50%;left:50%;width:1.7rem;height:1.7rem;
transform:translate(-50%,-50%);border-radius:50%;background:#fff;box-shadow:0 0 3px #000a;color:#1c1e22;
line-height:1.65rem;text-align:center}
.wiper input:focus-visible+span::after{outline:3px solid var(--accent)}
[data-shows=wipe] .stage{cursor:ew-resize;touch-action:pan-y}
[data-shows=wipe] .pic.reference{clip-path:inset(0 calc(100% - var(--at,50%)) 0 0)}
[data-shows=wipe] .heat,[data-shows=side] .heat,[data-shows=side] .wiper{display:none}
[data-shows=wipe][data-only=reference] .tag.result,[data-shows=wipe][data-only=result] .tag.reference{display:none}
[data-shows=side] .stage{grid-template-columns:1fr 1fr;gap:2px}
[data-shows=side] .pic.result{grid-column:2}
.flat[data-shows=side] .stage{grid-template:calc(50% - 1px) calc(50% - 1px)/1fr}
.flat[data-shows=side] .pic{width:min(100%,calc((var(--h)/2 - 1px)*var(--r)))}
.flat[data-shows=side] .pic.result{grid-area:2/1}
.flat[data-shows=side] .tag.result{top:calc(50% + .4rem);left:.4rem;right:auto}
[data-shows=heat] .stage>:not(.heat){display:none}
.card :not([data-shows=wipe])>.stage{cursor:zoom-in}
.views{display:flex;flex-wrap:wrap;gap:.4rem;justify-content:space-between;padding:.6rem .8rem 0}
.views button{min-height:1.9rem;padding:.15rem .5rem;font-size:.8rem}
.views .enlarge{font-size:1rem;line-height:1}
.facts{display:grid;gap:.35rem;padding:.6rem .8rem .9rem}
.facts p{margin:0;font-size:.875rem}
.why{display:flex;flex-wrap:wrap;gap:.3rem;margin:0;padding:0;list-style:none;color:var(--accent);font-size:.75rem}
.why li{padding:.02rem .55rem;border:1px solid;border-radius:1rem;overflow-wrap:anywhere}
dl{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;margin:.1rem 0 0}
dt{color:var(--faint);font-size:.75rem;overflow-wrap:anywhere}
dd{margin:0;font-weight:600}

dialog{width:calc(100vw - 2rem);height:calc(100dvh - 2rem);max-width:none;max-height:none;padding:0;border:0;
border-radius:.7rem;background:var(--paper);color:var(--ink);overflow:auto}
dialog::backdrop{background:#000b}
dialog .top{position:sticky;top:0;z-index:2;display:flex;align-items:center;gap:.6rem;padding:.6rem .8rem;
background:var(--paper)}
dialog .hint{margin:0}
dialog [data-close]{margin-left:auto}
dialog .body{display:grid;grid-template-columns:minmax(0,1fr) minmax(17rem,24rem);gap:0 1rem;padding:0 .8rem .8rem}
dialog .stage{--h:calc(100dvh - 9.6rem);border-radius:.4rem}
dialog .views{padding:.6rem 0}
dialog .enlarge,dialog .facts:has(.others)>dl{display:none}
dialog .facts{align-content:start;padding:0}
dialog h3{font-size:1.1rem}
dialog h4{color:var(--faint);font-size:.875rem;font-weight:400}
.others{min-width:0;margin-top:.8rem}
.others table{font-size:.875rem}
.others td,.others th{padding-right:.9rem;vertical-align:middle}
.others .on>*{font-weight:650}
.others button{min-height:0;padding:.1rem .5rem;text-align:left}

#rows th .name{max-width:30rem}
#rows td:nth-child(2),#rows thead th:nth-child(2),#rows th.error{text-align:left}
#rows td.error{min-width:16rem;color:var(--accent);text-align:left;white-space:normal;overflow-wrap:anywhere}
#rows .open{min-height:0;padding:0;border:0;background:none;color:var(--accent);font-size:1rem;text-align:left}
#rows .open:hover{text-decoration:underline}
#further{margin-top:.8rem}
footer{margin-top:3rem;padding-top:.8rem;border-top:1px solid var(--line);color:var(--faint);font-size:.8rem}
footer p{margin:.3rem 0}
pre{max-height:24rem;overflow:auto}

@media(min-width:48rem){
#cards-tools{position:sticky;top:0;z-index:2;background:var(--paper)}
}
@media(max-width:48rem){
.scroll th:first-child{padding-right:.8rem}
.scroll th .name,#rows th .name{max-width:9rem}
.against li{grid-template-columns:1fr}
.tools{display:grid;grid-template-columns:1fr 1fr}
.tools select,.tools input{width:100%;max-width:none}
.tools .choice{grid-column:1/-1}
.tools .choice button{flex:1}
dialog{width:100vw;height:100dvh;border-radius:0}
dialog .body{grid-template-columns:minmax(0,1fr)}
dialog .stage{--h:min(60dvh,calc((100vw - 1.6rem)/var(--r)))}
dialog .hint{display:none}
}
@media(prefers-reduced-motion:no-preference){html{scroll-behavior:smooth}}
@media print{
body{max-width:none}
nav,.tools,.views,.check,.count,#further,dialog{display:none}
.m::before,.tag{print-color-adjust:exact}
.card,figure,tr{break-inside:avoid}
.scroll{overflow:visible}
.cards{grid-template-columns:repeat(3,1fr)}
}
"""
