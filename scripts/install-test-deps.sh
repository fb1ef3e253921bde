#!/bin/sh
# Installs what the tests need and is not there yet: ffmpeg and ffprobe (real
# media), chromium, mpv, GStreamer and VLC (real players), gcc (go test -race), node and npm with the
# packages of the lock files (the official client for Node, browser control),
# varnish (a real cache). On Debian and Ubuntu with root or sudo it does so itself; elsewhere it prints the one command
# and ends with 1. What counts is whether each program is there in the end, not
# what apt-get said.
set -u
cd "$(dirname "$0")/.."

have() { command -v "$1" >/dev/null 2>&1; }
have_chromium() { have chromium || have chromium-browser || have google-chrome; }
have_gst() { have gst-launch-1.0 && gst-inspect-1.0 hlsdemux2 >/dev/null 2>&1 && gst-inspect-1.0 avdec_h264 >/dev/null 2>&1; }
have_vlc() { have cvlc && ls /usr/lib/*/vlc/plugins/video_output/libyuv_plugin.so >/dev/null 2>&1; }
have_gcc() { have gcc && echo 'int main(void){return 0;}' | gcc -x c -o /dev/null - 2>/dev/null; }

have_varnish() { have varnishd || [ -x /usr/sbin/varnishd ]; }

# Debian starts what a package serves as soon as it is installed; a policy of
# invoke-rc.d says no. A policy that is there already is not ours.
policy=/usr/sbin/policy-rc.d
install() {
	ours=''
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' | $root tee $policy >/dev/null && $root chmod 755 $policy && ours=yes
	fi
	# shellcheck disable=SC2068  # one word per package is meant
	$root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $@
	[ -z "$ours" ] || $root rm -f $policy
	if have systemctl; then # nor with the next start of the machine
		case " $* " in *' varnish '*) $root systemctl disable varnish varnishncsa >/dev/null 2>&1 ;; esac
	fi
}

missing() {
	have ffmpeg && have ffprobe || printf ' ffmpeg'
	have_chromium || printf ' chromium'
	have mpv || printf ' mpv'
	have_gst || printf ' gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav'
	have_vlc || printf ' vlc-bin vlc-plugin-base vlc-plugin-video-output'
	have_gcc || printf ' gcc libc6-dev'
	have node || printf ' nodejs'
	have npm || printf ' npm'
	have_varnish || printf ' varnish'
}

want=$(missing)
if [ -n "$want" ]; then
	root=''
	if [ "$(id -u)" -ne 0 ]; then
		if have sudo && sudo -n true 2>/dev/null; then
			root='sudo -n'
		fi
	fi
	command="apt-get update; apt-get install -y --no-install-recommends$want"
	if ! have apt-get || { [ "$(id -u)" -ne 0 ] && [ -z "$root" ]; }; then
		echo "The tests need:$want"
		echo "Install them, on Debian or Ubuntu with:  sudo sh -c '$command'"
		exit 1
	fi
	echo "installing:$want"
	$root apt-get update || echo "apt-get update complained; going on with what it knows"
	install $want
	want=$(missing)
	if [ -n "$want" ]; then
		echo "still missing:$want; install them and run this again"
		exit 1
	fi
fi

# Node packages, where a lock file is newer than what was installed from it.
for lock in $(find . -name package-lock.json -not -path '*/node_modules/*'); do
	dir=$(dirname "$lock")
	stamp=$dir/node_modules/.package-lock.json
	if [ ! -f "$stamp" ] || [ "$lock" -nt "$stamp" ]; then
		echo "installing node packages in $dir"
		if ! (cd "$dir" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund); then
			echo "npm ci in $dir failed; the tests need those packages"
			exit 1
		fi
		touch "$stamp"
	fi
done
echo "all that the tests need is here"
