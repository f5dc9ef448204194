"""What the page of scores does: it sorts, filters, wipes, enlarges and writes the rows of the table."""

SCRIPT = """'use strict';
const all=(what,where=document)=>[...where.querySelectorAll(what)], one=what=>document.querySelector(what);
const {methods,digits,higher,names,rows,errors}=JSON.parse(one('#data').textContent);
const uris=JSON.parse(one('#uris').textContent);
for(const image of all('img[data-picture]'))image.src=uris[image.dataset.picture];

// NaN is last, whichever way.
const number=v=>v===null?NaN:Number(v);
const order=(a,b,sign)=>a!==a?(b!==b?0:1):b!==b?-1:a===b?0:a<b?-sign:sign;
function make(tag,text,kind){
  const element=document.createElement(tag);
  element.textContent=text;
  if(kind)element.className=kind;
  return element;
}
function sortable(table,sort){
  for(const head of all('thead th',table))head.firstElementChild.addEventListener('click',()=>{
    const other={ascending:'descending',descending:'ascending'};
    const way=other[head.getAttribute('aria-sort')]||head.dataset.first;
    for(const each of all('[aria-sort]',table))each.removeAttribute('aria-sort');
    head.setAttribute('aria-sort',way);
    sort(head.cellIndex,way==='ascending'?1:-1);
  });
}

// --- means
const means=one('#means').tBodies[0];
sortable(one('#means'),(column,sign)=>{
  const key=row=>column?Number(row.cells[column].dataset.v):row.cells[0].textContent;
  means.append(...[...means.rows].sort((a,b)=>order(key(a),key(b),sign)));
});

// --- pictures
const cards=all('.card'), large=one('#large'), filters=one('#cards-tools');
const facts=new Map(cards.map(card=>[card,{values:JSON.parse(card.dataset.values).map(number),
  name:names[card.dataset.pair]??card.querySelector('h3').textContent}]));
const cardOf=(pair,method)=>cards.find(c=>c.dataset.pair===String(pair)&&c.dataset.method===String(method));
function wipe(viewer,at){
  at=Math.min(100,Math.max(0,at));
  viewer.querySelector('input').value=at;
  viewer.style.setProperty('--at',at+'%');
  viewer.dataset.only=at<4?'result':at>96?'reference':'';
}
function view(viewer,to){
  const buttons=all('[data-view]',viewer);
  if(!buttons.some(b=>b.dataset.view===to))to='wipe';
  viewer.dataset.shows=to;
  for(const button of buttons)button.setAttribute('aria-pressed',button.dataset.view===to);
}
document.addEventListener('input',e=>{
  if(e.target.type==='range')wipe(e.target.closest('.viewer'),Number(e.target.value));
});
// What moves is a drag; what does not is a click, which makes a card large.
let drag=null;
function follow(e){
  const box=drag.viewer.querySelector('.wiper').getBoundingClientRect();
  wipe(drag.viewer,Math.round(100*(e.clientX-box.left)/box.width));
}
document.addEventListener('pointerdown',e=>{
  const stage=e.target.closest('[data-shows=wipe] .stage');
  drag=stage&&e.button===0?{stage,viewer:stage.closest('.viewer'),x:e.clientX,moved:false}:null;
});
document.addEventListener('pointermove',e=>{
  if(!drag||!e.buttons||(!drag.moved&&Math.abs(e.clientX-drag.x)<4))return;
  if(!drag.moved)drag.stage.setPointerCapture(e.pointerId);
  drag.moved=true;
  follow(e);
});
document.addEventListener('pointercancel',()=>drag=null);
document.addEventListener('click',e=>{
  // Of the keyboard's clicks (detail 0) no drag is the beginning; who marks text to copy it does not click.
  const at=e.target, moved=e.detail&&(drag?.moved||String(getSelection())!=='');
  if(e.detail&&drag&&!drag.moved&&large.contains(drag.stage))follow(e);
  drag=null;
  const button=at.closest('button'), card=at.closest('.card');
  if(button?.dataset.view)view(button.closest('.viewer'),button.dataset.view);
  else if(button?.dataset.go)enlarge(cardOf(...button.dataset.go.split(' ')));
  else if(card&&!moved&&(!button||'open' in button.dataset))enlarge(card);
  const dot=at.closest('[data-pair].dot');
  if(dot&&dot.dataset.pair in names)search(names[dot.dataset.pair]);
});
const visible=()=>all('.card:not([hidden])');
function arrange(){
  const of=name=>filters.querySelector(`[name=${name}]`)?.value??'';
  const which=filters.querySelector('[data-which][aria-pressed=true]')?.dataset.which??'';
  const text=of('find').toLowerCase();
  for(const card of cards)card.hidden=(of('method')!==''&&card.dataset.method!==of('method'))
    ||(which!==''&&!card.dataset.which.split(' ').includes(which))||!facts.get(card).name.toLowerCase().includes(text);
  const [metric,way]=of('sort').split(' ');
  const sign=way&&(higher[metric]===(way==='worst')?1:-1);
  one('#cards').append(...(way?[...cards].sort((a,b)=>
    order(facts.get(a).values[metric],facts.get(b).values[metric],sign)):cards));
  const count=visible().length;
  one('#cards-count').textContent=
    (count===cards.length?count:`${count} of ${cards.length}`)+(cards.length===1?' picture':' pictures');
}
if(filters){
  filters.addEventListener('input',e=>{
    if(e.target.name==='view')for(const viewer of all('.card .viewer'))view(viewer,e.target.value);
    else arrange();
  });
  for(const button of all('[data-which]',filters))button.addEventListener('click',()=>{
    for(const each of all('[data-which]',filters))each.setAttribute('aria-pressed',each===button);
    arrange();
  });
}

// --- one picture, large
let current=null, opener=null;
function enlarge(card){
  if(!large.open)opener=document.activeElement;
  const before=large.querySelector('.viewer'), viewer=card.querySelector('.viewer').cloneNode(true);
  if(large.open&&before){
    view(viewer,before.dataset.shows);
    wipe(viewer,Number(before.querySelector('input').value));
  }
  const fact=card.querySelector('.facts').cloneNode(true);
  one('#large .body').replaceChildren(viewer,fact);
  current=card;
  const among=visible(), place=among.indexOf(card);
  one('#large .place').textContent=place<0?'':`${place+1} of ${among.length}`;
  if(!large.open)large.showModal();
}
function step(by){
  const among=visible(), next=among[(among.indexOf(current)+by+among.length)%among.length];
  if(next)enlarge(next);
}
large.addEventListener('keydown',e=>{
  // The slider has the arrows for itself.
  if(e.target.type==='range'||e.altKey||e.ctrlKey||e.metaKey)return;
  const by={ArrowLeft:-1,ArrowRight:1}[e.key];
  if(by){e.preventDefault();step(by);}
});
large.addEventListener('click',e=>{
  const button=e.target.closest('button');
  if(button?.dataset.step)step(Number(button.dataset.step));
  else if(e.target===large||(button&&'close' in button.dataset))large.close();
});
large.addEventListener('close',()=>{
  one('#large .body').replaceChildren();
  if(current&&!current.hidden&&!opener?.closest('#rows')){
    current.scrollIntoView({block:'nearest',behavior:'instant'});
    current.querySelector('[data-open]').focus({preventScroll:true});
  }
  current=null;
});

// --- all pairs
const page=100, table=one('#rows'), further=one('#further'), find=one('#rows-tools [name=find]');
const only=one('#rows-tools [name=method]'), withErrors=table.tHead.rows[0].cells.length>2+digits.length;
const known=new Set(cards.map(c=>c.dataset.pair+' '+c.dataset.method));
const lines=rows.map(([pair,method,...values],i)=>
  ({pair,method,name:names[pair],low:names[pair].toLowerCase(),values:values.map(number),error:errors[i]??''}));
let chosen=lines, done=0;
const written=(v,after)=>v!==v?'–':Math.abs(v)===Infinity?(v>0?'∞':'−∞'):after<0?v.toExponential(3):v.toFixed(after);
function rowOf(line){
  const row=document.createElement('tr'), head=make('th',''), card=line.pair+' '+line.method;
  const name=make(known.has(card)?'button':'span',line.name,known.has(card)?'name open':'name');
  if(known.has(card))name.dataset.go=card;
  head.scope='row';
  head.append(name);
  const method=document.createElement('td');
  method.append(make('span',methods[line.method],`m m${line.method%8}`));
  row.append(head,method,...line.values.map((v,i)=>make('td',written(v,digits[i]))));
  if(withErrors)row.append(make('td',line.error,'error'));
  return row;
}
function more(){
  table.tBodies[0].append(...chosen.slice(done,done+page).map(rowOf));
  done=Math.min(done+page,chosen.length);
  further.hidden=done>=chosen.length;
  further.textContent=`show ${Math.min(page,chosen.length-done)} more`;
  const [all,some]=[lines,chosen].map(each=>each.length.toLocaleString('en'));
  one('#rows-count').textContent=(some===all?all:`${some} of ${all}`)+(lines.length===1?' row':' rows');
}
function list(){
  const text=find.value.toLowerCase(), method=only?.value??'';
  chosen=lines.filter(l=>l.low.includes(text)&&(method===''||l.method===Number(method)));
  const head=table.querySelector('[aria-sort]');
  if(head){
    const column=head.cellIndex, sign=head.getAttribute('aria-sort')==='ascending'?1:-1;
    const key=l=>column===0?l.name:column===1?l.method:column-2<digits.length?l.values[column-2]:l.error;
    chosen.sort((a,b)=>order(key(a),key(b),sign));
  }
  table.tBodies[0].replaceChildren();
  done=0;
  more();
}
function search(name){
  find.value=name;
  if(only)only.value='';
  list();
  one('#all').scrollIntoView();
}
sortable(table,list);
one('#rows-tools').addEventListener('input',list);
further.addEventListener('click',more);
list();
"""
