package manifest

import (
	"errors"
	"fmt"
	"slices"
)

// Collection is what a vector database outside has of the partition's vectors.
type Collection struct {
	Name     string `json:"name"`
	Settings string `json:"settings"` // as vectorindex.Settings
	// Incarnation is which collection of that name: another one that was made in its
	// place has none of the vectors.
	Incarnation string `json:"incarnation"`
	// Ranges are the offsets whose vectors have all been put into it, rising, with
	// something between two.
	Ranges []Range `json:"ranges,omitempty"`
	// Start is the log start as of which what is below was taken out of it.
	Start int64 `json:"start,omitempty"`
	// Masks are those whose records were taken out of it.
	Masks []string `json:"masks,omitempty"`
}

// Range are the offsets [First, Next).
type Range struct {
	First int64 `json:"first"`
	Next  int64 `json:"next"`
}

// Add puts a range into a list as a Collection has it.
func Add(ranges []Range, r Range) []Range {
	if r.Next <= r.First {
		return ranges
	}
	var out []Range
	for _, have := range ranges {
		if have.Next < r.First || r.Next < have.First {
			out = append(out, have)
			continue
		}
		r = Range{min(r.First, have.First), max(r.Next, have.Next)}
	}
	i, _ := slices.BinarySearchFunc(out, r, func(a, b Range) int { return int(min(1, max(-1, a.First-b.First))) })
	return slices.Insert(out, i, r)
}

// Cut takes a range out of a list.
func Cut(ranges []Range, r Range) []Range {
	var left []Range
	for _, have := range ranges {
		left = append(left, have.Without([]Range{r})...)
	}
	return left
}

// Without is what of a range the list does not have, rising.
func (r Range) Without(list []Range) []Range {
	var left []Range
	for _, have := range list {
		if have.Next <= r.First || r.Next <= have.First {
			continue
		}
		if r.First < have.First {
			left = append(left, Range{r.First, have.First})
		}
		r.First = max(r.First, have.Next)
	}
	if r.First < r.Next {
		left = append(left, r)
	}
	return left
}

// Needs tells whether the collection may still have records that a mask names.
func (c *Collection) Needs(mask File) bool {
	return !slices.Contains(c.Masks, mask.Object) && slices.ContainsFunc(c.Ranges, func(r Range) bool { return r.First < mask.Next && mask.First < r.Next })
}

func validateCollections(all []Collection) error {
	for i := range all {
		c := &all[i]
		switch {
		case c.Name == "" || slices.ContainsFunc(all[:i], func(o Collection) bool { return o.Name == c.Name }):
			return fmt.Errorf("collection %d has the name %q", i, c.Name)
		case c.Start < 0 || c.Start > offsetMax || slices.Contains(c.Masks, ""):
			return fmt.Errorf("collection %s starts at %d, masks %q", c.Name, c.Start, c.Masks)
		}
		if err := validateRanges(c.Ranges); err != nil {
			return fmt.Errorf("collection %s: %w", c.Name, err)
		}
	}
	return nil
}

func validateRanges(ranges []Range) error {
	for i, r := range ranges {
		if r.First < 0 || r.Next <= r.First || r.Next > offsetMax {
			return fmt.Errorf("range [%d,%d)", r.First, r.Next)
		}
		if i > 0 && r.First <= ranges[i-1].Next {
			return errors.New("ranges that touch or are out of order")
		}
	}
	return nil
}
