package media

import (
	"errors"
	"fmt"
)

// hevcInfo is what the packager and the API want from an HEVC SPS.
type hevcInfo struct {
	profile       [12]byte // profile space, tier, profile, compatibility, constraints, level
	chroma        uint32   // chroma_format_idc
	lumaDepth     uint32   // bits
	chromaDepth   uint32
	subLayers     uint32
	nested        bool // sps_temporal_id_nesting_flag
	width, height int
	frameRate     float64 // 0: not announced
	color         Color
	aspect        Aspect
}

// parseHEVCSPS reads a sequence parameter set as far as the announced
// frame rate (ITU-T H.265 section 7.3.2.2.1).
func parseHEVCSPS(nal []byte) (hevcInfo, error) {
	var info hevcInfo
	if len(nal) < 16 || hevcType(nal) != hevcSPS {
		return info, errors.New("not a sequence parameter set")
	}
	r := &bitReader{data: unescape(nal[2:])}
	r.skip(4) // sps_video_parameter_set_id
	layers := r.bits(3)
	if layers > 6 {
		return info, fmt.Errorf("sps_max_sub_layers_minus1 %d", layers)
	}
	info.subLayers, info.nested = layers+1, r.flag()
	for i := range info.profile {
		info.profile[i] = byte(r.bits(8))
	}
	skipSubLayers(r, layers)
	r.ue() // sps_seq_parameter_set_id
	if err := info.picture(r); err != nil {
		return info, err
	}
	order := r.ue() + 4 // log2_max_pic_order_cnt_lsb
	each := r.flag()    // sps_sub_layer_ordering_info_present_flag
	for i := range layers + 1 {
		if i == 0 || each {
			r.ue()
			r.ue()
			r.ue()
		}
	}
	if r.over || order > 16 {
		return info, errors.New("cut short")
	}
	info.tools(r, int(order))
	return info, nil
}

// skipSubLayers skips what profile_tier_level has per temporal layer (ITU-T
// H.265 section 7.3.3).
func skipSubLayers(r *bitReader, layers uint32) {
	var profile, level [8]bool
	for i := range layers {
		profile[i], level[i] = r.flag(), r.flag()
	}
	if layers > 0 {
		r.skip(2 * int(8-layers))
	}
	for i := range layers {
		if profile[i] {
			r.skip(88)
		}
		if level[i] {
			r.skip(8)
		}
	}
}

// picture reads the chroma format, the size and the depths.
func (info *hevcInfo) picture(r *bitReader) error {
	if info.chroma = r.ue(); info.chroma > 3 {
		return fmt.Errorf("chroma_format_idc %d", info.chroma)
	}
	unitX, unitY := int64(1), int64(1)
	switch info.chroma {
	case 1:
		unitX, unitY = 2, 2
	case 2:
		unitX = 2
	case 3:
		r.skip(1) // separate_colour_plane_flag
	}
	width, height := int64(r.ue()), int64(r.ue())
	if r.flag() { // conformance_window_flag
		width -= unitX * (int64(r.ue()) + int64(r.ue()))
		height -= unitY * (int64(r.ue()) + int64(r.ue()))
	}
	info.lumaDepth, info.chromaDepth = r.ue()+8, r.ue()+8
	switch {
	case r.over:
		return errors.New("cut short")
	case width <= 0 || height <= 0 || width > maxDimension || height > maxDimension:
		return fmt.Errorf("picture of %d x %d", width, height)
	case info.lumaDepth > 15 || info.chromaDepth > 15: // three bits in the record
		return fmt.Errorf("samples of %d and %d bits", info.lumaDepth, info.chromaDepth)
	}
	info.width, info.height = int(width), int(height)
	return nil
}

// tools skips the SPS's tools to the VUI, and reads that. What cannot be read
// announces nothing: nothing behind it is needed.
func (info *hevcInfo) tools(r *bitReader, orderBits int) {
	for range 6 { // block and transform sizes and depths
		r.ue()
	}
	if r.flag() { // scaling_list_enabled_flag
		if r.flag() { // sps_scaling_list_data_present_flag
			skipHEVCScaling(r)
		}
	}
	r.skip(2)     // amp_enabled_flag, sample_adaptive_offset_enabled_flag
	if r.flag() { // pcm_enabled_flag
		r.skip(8)
		r.ue()
		r.ue()
		r.skip(1)
	}
	if !skipReferenceSets(r) {
		return
	}
	if r.flag() { // long_term_ref_pics_present_flag
		n := r.ue()
		if n > 32 {
			return
		}
		r.skip(int(n) * (orderBits + 1))
	}
	r.skip(2)     // sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
	if r.flag() { // vui_parameters_present_flag
		info.vui(r)
	}
}

// vui reads what the packager and the API want of the video usability
// information (ITU-T H.265 annex E.2.1).
func (info *hevcInfo) vui(r *bitReader) {
	info.aspect, info.color = vuiHead(r)
	r.skip(3)     // neutral_chroma_indication_flag, field_seq_flag, frame_field_info_present_flag
	if r.flag() { // default_display_window_flag
		for range 4 {
			r.ue()
		}
	}
	info.frameRate = hevcTiming(r)
}

// hevcTiming reads the flag and the figures of a frame rate, which stand alike
// in VPS and VUI.
func hevcTiming(r *bitReader) float64 {
	if !r.flag() {
		return 0
	}
	units, scale := r.bits(32), r.bits(32)
	if r.over || units == 0 {
		return 0
	}
	rate := float64(scale) / float64(units)
	if rate < 0.1 || rate > 1000 { // placeholders, not rates
		return 0
	}
	return rate
}

// vpsFrameRate returns what a video parameter set announces, or 0 (ITU-T H.265
// section 7.3.2.1).
func vpsFrameRate(nal []byte) float64 {
	if len(nal) < 3 {
		return 0
	}
	r := &bitReader{data: unescape(nal[2:])}
	r.skip(12) // id, base layer flags, vps_max_layers_minus1
	layers := r.bits(3)
	if layers > 6 {
		return 0
	}
	r.skip(1 + 16 + 96) // nesting, reserved, the profile
	skipSubLayers(r, layers)
	each := r.flag() // vps_sub_layer_ordering_info_present_flag
	for i := range layers + 1 {
		if i == 0 || each {
			r.ue()
			r.ue()
			r.ue()
		}
	}
	highest := r.bits(6) // vps_max_layer_id
	sets := r.ue()       // vps_num_layer_sets_minus1
	if sets > 1023 {
		return 0
	}
	r.skip(int(sets) * int(highest+1))
	return hevcTiming(r)
}

// skipHEVCScaling skips scaling_list_data (ITU-T H.265 section 7.3.4).
func skipHEVCScaling(r *bitReader) {
	for size := range 4 {
		step := 1
		if size == 3 {
			step = 3
		}
		for matrix := 0; matrix < 6; matrix += step {
			if !r.flag() { // scaling_list_pred_mode_flag
				r.ue()
				continue
			}
			if size > 1 {
				r.se()
			}
			for range min(64, 1<<(4+size<<1)) {
				r.se()
			}
		}
	}
}

// skipReferenceSets skips the short-term reference picture sets (ITU-T H.265
// section 7.3.7). It reports whether they made sense.
func skipReferenceSets(r *bitReader) bool {
	sets := r.ue()
	if sets > 64 {
		return false
	}
	pictures := 0 // NumDeltaPocs of the set before
	for i := range sets {
		if i > 0 && r.flag() { // inter_ref_pic_set_prediction_flag
			r.skip(1)
			r.ue()
			n := 0
			for range pictures + 1 {
				used := r.flag() // used_by_curr_pic_flag
				if !used {
					used = r.flag() // use_delta_flag
				}
				if used {
					n++
				}
			}
			pictures = n
		} else {
			negative, positive := r.ue(), r.ue()
			if negative > 16 || positive > 16 {
				return false
			}
			for range negative + positive {
				r.ue()
				r.skip(1)
			}
			pictures = int(negative + positive)
		}
		if r.over || pictures > 64 {
			return false
		}
	}
	return true
}
