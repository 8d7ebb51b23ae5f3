// Package cranfield reads the Cranfield collection: abstracts about aerodynamics,
// questions about them, and which of them people found to answer each.
package cranfield

import (
	"encoding/xml"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// NDCG is nDCG@10 where a document's gain is whether it was judged relevant.
func NDCG(ranked []int, relevant map[int]bool) float64 {
	gained, ideal := 0.0, 0.0
	for i := range 10 {
		discount := 1 / math.Log2(float64(i+2))
		if i < len(ranked) && relevant[ranked[i]] {
			gained += discount
		}
		if i < len(relevant) {
			ideal += discount
		}
	}
	if ideal == 0 {
		return 0
	}
	return gained / ideal
}

// Document is an abstract.
type Document struct {
	Number int    `json:"number"`
	Title  string `json:"title"`
	Text   string `json:"text"`
}

// Collection is what there is. Questions and documents have numbers from 1.
type Collection struct {
	Documents []Document
	Questions []string
	Relevant  map[int]map[int]bool // documents by question
}

// Read reads the folder of that name below one with real data.
func Read(data string) (*Collection, error) {
	dir := filepath.Join(data, "cranfield")
	c := &Collection{Relevant: map[int]map[int]bool{}}
	body, err := os.ReadFile(filepath.Join(dir, "cran.all.1400.xml"))
	if err != nil {
		return nil, err
	}
	var all struct {
		Documents []struct {
			Number int    `xml:"docno"`
			Title  string `xml:"title"`
			Text   string `xml:"text"`
		} `xml:"doc"`
	}
	if text := string(body); !strings.Contains(text, "<xml>") && !strings.Contains(text, "<root>") {
		body = []byte("<root>" + text + "</root>")
	}
	if err := xml.Unmarshal(body, &all); err != nil {
		return nil, err
	}
	for _, d := range all.Documents {
		c.Documents = append(c.Documents, Document(d))
	}
	if body, err = os.ReadFile(filepath.Join(dir, "cran.qry.xml")); err != nil {
		return nil, err
	}
	var questions struct {
		Questions []struct {
			Title string `xml:"title"`
		} `xml:"top"`
	}
	if err := xml.Unmarshal(body, &questions); err != nil {
		return nil, err
	}
	for _, q := range questions.Questions {
		c.Questions = append(c.Questions, q.Title)
	}
	judgments, err := os.ReadFile(filepath.Join(dir, "cranqrel.trec.txt"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(judgments)) {
		words := strings.Fields(line)
		if len(words) != 4 {
			continue
		}
		var numbers [3]int
		for i, word := range []string{words[0], words[2], words[3]} {
			if numbers[i], err = strconv.Atoi(word); err != nil {
				return nil, fmt.Errorf("judgment %q: %w", line, err)
			}
		}
		if numbers[2] <= 0 {
			continue
		}
		if c.Relevant[numbers[0]] == nil {
			c.Relevant[numbers[0]] = map[int]bool{}
		}
		c.Relevant[numbers[0]][numbers[1]] = true
	}
	if len(c.Documents) != 1400 || len(c.Questions) != 225 || len(c.Relevant) < 200 {
		return nil, fmt.Errorf("%s has %d documents, %d questions, judgments of %d", dir, len(c.Documents), len(c.Questions), len(c.Relevant))
	}
	return c, nil
}
