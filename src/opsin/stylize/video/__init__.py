"""Style transfer of clips (extra `video`): frames that begin as the previous result, moved by optical flow."""

from opsin.stylize.video.clips import Clip, open_clip
from opsin.stylize.video.flow import Motion, find_motion, flicker, warp
from opsin.stylize.video.sequence import Painter, stylize_frames
from opsin.stylize.video.store import FrameStore
from opsin.stylize.video.transfer import VideoProgress, VideoResult, stylize_video
from opsin.stylize.video.writing import WRITABLE_SUFFIXES, write_clip

__all__ = [
    "WRITABLE_SUFFIXES",
    "Clip",
    "FrameStore",
    "Motion",
    "Painter",
    "VideoProgress",
    "VideoResult",
    "find_motion",
    "flicker",
    "open_clip",
    "stylize_frames",
    "stylize_video",
    "warp",
    "write_clip",
]
