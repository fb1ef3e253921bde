package thumbnail

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"image"
	"image/draw"
	"image/jpeg"
)

// sizes are one picture by width. The largest is ffmpeg's; the others are made of
// it for the first who asks.
type sizes map[int]*Picture

// newSizes takes what ffmpeg made.
func newSizes(data []byte) (sizes, error) {
	c, err := jpeg.DecodeConfig(bytes.NewReader(data))
	if err != nil || c.Width < 1 || c.Height < 1 || c.Width > MaxWidth || c.Height > MaxWidth {
		return nil, ErrPicture
	}
	return sizes{c.Width: newPicture(data, c.Width)}, nil
}

func newPicture(data []byte, width int) *Picture {
	sum := sha256.Sum256(data)
	return &Picture{Data: data, Width: width, ETag: `"` + hex.EncodeToString(sum[:9]) + `"`}
}

// in returns the picture in a width, or as wide as it is.
func (s sizes) in(width int) (*Picture, error) {
	largest := 0
	for w := range s {
		largest = max(largest, w)
	}
	if width >= largest {
		return s[largest], nil
	}
	if p := s[width]; p != nil {
		return p, nil
	}
	full, err := jpeg.Decode(bytes.NewReader(s[largest].Data))
	if err != nil {
		return nil, ErrPicture
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, shrink(full, width), &jpeg.Options{Quality: 80}); err != nil {
		return nil, err
	}
	s[width] = newPicture(b.Bytes(), width)
	return s[width], nil
}

// shrink scales a picture down to a width: each pixel is the mean of those that it
// stands for.
func shrink(src image.Image, width int) image.Image {
	from := src.Bounds()
	all := image.NewRGBA(from)
	draw.Draw(all, from, src, from.Min, draw.Src)
	height := max(1, (from.Dy()*width+from.Dx()/2)/from.Dx())
	dst := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		y0, y1 := span(y, height, from.Dy())
		for x := range width {
			x0, x1 := span(x, width, from.Dx())
			var r, g, b, n uint32
			for sy := y0; sy < y1; sy++ {
				row := all.Pix[sy*all.Stride+4*x0 : sy*all.Stride+4*x1]
				for ; len(row) > 0; row = row[4:] {
					r, g, b, n = r+uint32(row[0]), g+uint32(row[1]), b+uint32(row[2]), n+1
				}
			}
			i := dst.PixOffset(x, y)
			dst.Pix[i], dst.Pix[i+1], dst.Pix[i+2], dst.Pix[i+3] = uint8(r/n), uint8(g/n), uint8(b/n), 255
		}
	}
	return dst
}

// span is which of from pixels the i-th of to stands for.
func span(i, to, from int) (low, high int) {
	low, high = i*from/to, (i+1)*from/to
	return low, max(high, low+1)
}
