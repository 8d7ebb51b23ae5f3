package tokenizer

import (
	"iter"
	"maps"
	"slices"
)

// trie finds the pieces that a text begins with. A node's children lie next to
// each other, by label, so that a quarter of a million pieces take some
// megabytes.
type trie struct {
	nodes []node
}

type node struct {
	child    int32 // the first
	id       int32 // of the piece that ends here, -1: none
	children int16
	label    byte
}

func newTrie(pieces vocabulary) *trie {
	t := &trie{nodes: []node{{id: -1}}}
	type span struct{ first, next, depth int } // sorted texts with one prefix
	texts := slices.Sorted(maps.Keys(pieces))
	queue := []span{{0, len(texts), 0}}
	for at := 0; at < len(queue); at++ { // the place in the queue is that of the node
		s := queue[at]
		queue[at] = span{}
		if s.first < s.next && len(texts[s.first]) == s.depth {
			t.nodes[at].id = pieces[texts[s.first]]
			s.first++
		}
		t.nodes[at].child = int32(len(t.nodes))
		for s.first < s.next {
			label := texts[s.first][s.depth]
			next := s.first
			for next < s.next && texts[next][s.depth] == label {
				next++
			}
			t.nodes[at].children++
			t.nodes = append(t.nodes, node{label: label, id: -1})
			queue = append(queue, span{s.first, next, s.depth + 1})
			s.first = next
		}
	}
	return t
}

// prefixes gives the pieces that a text begins with, shortest first: where they
// end, and their ids.
func (t *trie) prefixes(text string) iter.Seq2[int, int32] {
	return func(yield func(int, int32) bool) {
		at := &t.nodes[0]
		for i := range len(text) {
			children := t.nodes[at.child : at.child+int32(at.children)]
			n, found := slices.BinarySearchFunc(children, text[i], func(n node, label byte) int { return int(n.label) - int(label) })
			if !found {
				return
			}
			at = &children[n]
			if at.id >= 0 && !yield(i+1, at.id) {
				return
			}
		}
	}
}
