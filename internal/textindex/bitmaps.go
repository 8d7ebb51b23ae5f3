package textindex

import "github.com/RoaringBitmap/roaring/v2"

func (c *pairs) Exists() *roaring.Bitmap {
	all := roaring.New()
	if c.dense {
		all.AddRange(0, uint64(c.documents))
		return all
	}
	all.AddMany(c.docs)
	return all
}

func (c *pairs) Match(least, greatest int64) *roaring.Bitmap {
	matching := make([]uint32, 0, 1024)
	for i, v := range c.values {
		if least <= v && v <= greatest {
			matching = append(matching, c.docs[i])
		}
	}
	all := roaring.New()
	all.AddMany(matching)
	return all
}
