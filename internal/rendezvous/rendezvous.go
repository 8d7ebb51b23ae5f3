// Package rendezvous shares keys out over members so that everybody who knows
// the same members comes to the same answer, and a member that joins or leaves
// moves only its own share (highest random weight hashing, Thaler and
// Ravishankar 1998).
package rendezvous

import "hash/fnv"

// Pick returns the member that is to have key, "" when there are none. Members
// are distinct; their order does not matter.
func Pick(key string, members []string) string {
	var best string
	var most uint64
	for _, m := range members {
		if w := weight(key, m); best == "" || w > most || w == most && m < best {
			best, most = m, w
		}
	}
	return best
}

// weight is FNV-1a over both, with the finalizer of splitmix64: FNV alone
// differs too little between members whose names differ in the last digit.
func weight(key, member string) uint64 {
	h := fnv.New64a()
	// Writing to a hash never fails.
	_, _ = h.Write([]byte(key))
	_, _ = h.Write([]byte{0})      // as above
	_, _ = h.Write([]byte(member)) // as above
	w := h.Sum64()
	w = (w ^ w>>30) * 0xbf58476d1ce4e5b9
	w = (w ^ w>>27) * 0x94d049bb133111eb
	return w ^ w>>31
}
