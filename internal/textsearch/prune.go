package textsearch

// possible reports whether a document of a part may match, as far as its footer and
// the terms that were looked up tell: where none can, nothing more of the part is
// read. Its statistics count all the same.
func possible(n node, s *shard) bool {
	switch n := n.(type) {
	case noNode:
		return false
	case partNode:
		return n.holds(s.Part)
	case *termNode:
		return s.terms == nil || s.terms[n.number].Documents > 0
	case bitsNode:
		return n.may == nil || n.may(s)
	case constantNode:
		return possible(n.node, s)
	case anyNode:
		return atLeast(n.parts, max(1, n.need), s)
	case bestNode:
		return atLeast(n.parts, 1, s)
	case *boolNode:
		return atLeast(n.must, len(n.must), s) && atLeast(n.filter, len(n.filter), s) && atLeast(n.should, n.need, s)
	case boostingNode:
		return possible(n.positive, s)
	}
	return true
}

// atLeast reports whether so many of the nodes are possible.
func atLeast(nodes []node, need int, s *shard) bool {
	for _, n := range nodes {
		if need <= 0 {
			return true
		}
		if possible(n, s) {
			need--
		}
	}
	return need <= 0
}
