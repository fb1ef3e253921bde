package media

// aspects are the shapes of pixels by aspect_ratio_idc, from 1 on, in H.264 and
// HEVC alike (ITU-T H.264 table E-1).
var aspects = [...]Aspect{
	{1, 1}, {12, 11}, {10, 11}, {16, 11}, {40, 33}, {24, 11}, {20, 11}, {32, 11},
	{80, 33}, {18, 11}, {15, 11}, {64, 33}, {160, 99}, {4, 3}, {3, 2}, {2, 1},
}

// vuiHead reads what the video usability information of H.264 (ITU-T H.264
// annex E.1.1) and of HEVC (ITU-T H.265 annex E.2.1) begins with, as far as the
// place of chroma samples.
func vuiHead(r *bitReader) (a Aspect, c Color) {
	if r.flag() { // aspect_ratio_info_present_flag
		switch idc := int(r.bits(8)); {
		case idc == 255: // Extended_SAR
			a = Aspect{r.bits(16), r.bits(16)}
		case idc >= 1 && idc <= len(aspects):
			a = aspects[idc-1]
		}
	}
	if r.flag() { // overscan_info_present_flag
		r.skip(1)
	}
	if r.flag() { // video_signal_type_present_flag
		r.skip(3)
		c.Full = r.flag()
		if r.flag() { // colour_description_present_flag
			c.Primaries, c.Transfer, c.Matrix = uint8(r.bits(8)), uint8(r.bits(8)), uint8(r.bits(8))
		}
	}
	if r.flag() { // chroma_loc_info_present_flag
		r.ue()
		r.ue()
	}
	if r.over {
		return Aspect{}, Color{}
	}
	if a.Width == a.Height || a.Width == 0 || a.Height == 0 {
		a = Aspect{}
	}
	return a, c
}
