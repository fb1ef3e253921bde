#!/bin/sh
# Makes internal/cli/clip.flv, the clip that `tally demo` and `tally publish`
# send. It needs ffmpeg with drawtext and the DejaVu fonts; nobody needs it to
# build Tally. The clip is eight seconds and loops without a seam: everything
# that moves has a period that divides eight, video is 240 frames at 30 fps with
# a keyframe each second and no B-frames, audio is 375 AAC frames at 48 kHz.
set -eu
cd "$(dirname "$0")/.."
out=internal/cli/clip.flv
bold=$(fc-match -f '%{file}' 'DejaVu Sans:bold')
mono=$(fc-match -f '%{file}' 'DejaVu Sans Mono')
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# The sources are longer than the clip, so that -frames alone ends both tracks.
# [bg] dark studio, a slow light; [bars] colour bars; [dial] a clock hand that
# turns once in eight seconds; [ball] swings twice; [lamp] the tally light.
ffmpeg -hide_banner -loglevel error -y -filter_complex "
  color=c=0x0d1117:s=854x480:r=30:d=9,format=yuv420p,
    geq=lum='24+26*exp(-(pow(X-427-260*sin(2*PI*T/8),2)+pow(Y-150,2))/40000)':cb=134:cr=124[bg];
  smptebars=s=854x96:r=30:d=9,crop=854:64:0:0[bars];
  color=c=black:s=200x200:r=30:d=9,format=rgba,
    geq=r='if(lt(abs(hypot(X-100,Y-100)-92),2.5),90,235)':g='if(lt(abs(hypot(X-100,Y-100)-92),2.5),100,240)':b='if(lt(abs(hypot(X-100,Y-100)-92),2.5),120,250)':
    a='255*max(lt(abs(hypot(X-100,Y-100)-92),2.5),lt(hypot(X-100,Y-100),86)*gt((X-100)*sin(2*PI*T/8)-(Y-100)*cos(2*PI*T/8),0)*lt(abs((X-100)*cos(2*PI*T/8)+(Y-100)*sin(2*PI*T/8)),3))'[dial];
  color=c=black:s=44x44:r=30:d=9,format=rgba,
    geq=r=64:g=196:b=255:a='255*clip(21-hypot(X-22,Y-22),0,1)'[ball];
  color=c=black:s=160x160:r=30:d=9,format=rgba,
    geq=r=255:g='if(lt(hypot(X-80,Y-80),24),48,20)':b='if(lt(hypot(X-80,Y-80),24),48,20)':
    a='255*max(clip(26-hypot(X-80,Y-80),0,1),(0.45+0.25*sin(2*PI*T))*exp(-(pow(X-80,2)+pow(Y-80,2))/1100))'[lamp];
  [bg][bars]overlay=0:416[a];
  [a][dial]overlay=600:70[b];
  [b][ball]overlay=x='70+380*(0.5-0.5*cos(2*PI*t/4))':y='318-40*abs(sin(2*PI*t/2))'[c];
  [c][lamp]overlay=24:52[d];
  [d]drawtext=fontfile=$bold:text=TALLY:fontsize=84:fontcolor=white:x=190:y=92,
    drawtext=fontfile=$mono:text='on air  %{eif\:floor(t)\:d\:1}.%{eif\:mod(floor(t*10+0.001)\,10)\:d\:1} / 8 s':fontsize=30:fontcolor=0x9fb3c8:x=194:y=186,
    drawtext=fontfile=$mono:text='%{eif\:n\:d\:3}':fontsize=30:fontcolor=0x9fb3c8:x=674:y=284,
    format=yuv420p[v]" \
  -map '[v]' \
  -c:v libx264 -preset veryslow -profile:v high -crf 24 -maxrate 480k -bufsize 480k -bf 0 -g 30 -keyint_min 30 -sc_threshold 0 \
  -x264-params "threads=1" -color_primaries smpte170m -color_trc smpte170m -colorspace smpte170m \
  -frames:v 240 -bsf:v filter_units=remove_types=6 -fflags +bitexact -flags:v +bitexact "$tmp/video.flv"
ffmpeg -hide_banner -loglevel error -y -filter_complex "aevalsrc='0.05*sin(2*PI*440*t)*exp(-6*mod(t,1))+0.03*sin(2*PI*660*t)*exp(-5*mod(t+1,2))':s=48000:d=9.1,aformat=channel_layouts=stereo" \
  -c:a aac -b:a 64k -frames:a 375 -fflags +bitexact -flags:a +bitexact "$tmp/audio.aac"
ffmpeg -hide_banner -loglevel error -y -i "$tmp/video.flv" -i "$tmp/audio.aac" -map 0:v -map 1:a -c copy -bsf:a aac_adtstoasc \
  -fflags +bitexact -map_metadata -1 -flvflags no_duration_filesize "$out"
wc -c "$out"
