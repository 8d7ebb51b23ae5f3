package main

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ndcgLeast is what stemming has to reach at least.
const ndcgLeast = 0.38

// cranfield has 1,400 abstracts ranked for 225 questions that people have judged,
// with words as they are and with English stemming.
func cranfield(ctx context.Context, o options, s *server) error {
	if o.data == "" {
		fmt.Println("SKIPPED cranfield: CHRONIK_TESTDATA does not name the folder that has it")
		return nil
	}
	c, err := readCranfield(filepath.Join(o.data, "cranfield"))
	if err != nil {
		return err
	}
	scores := map[string]float64{}
	for _, analyzer := range []string{"standard", "english"} {
		index := "cranfield-" + analyzer
		mapping := fmt.Sprintf(`{"settings":{"number_of_shards":2},"mappings":{"properties":{"title":{"type":"text","analyzer":%q},"text":{"type":"text","analyzer":%q},"number":{"type":"long"}}}}`, analyzer, analyzer)
		if err := s.into(ctx, nil, "PUT", "/"+index, mapping); err != nil {
			return err
		}
		if err := s.bulk(ctx, index, c.documents); err != nil {
			return err
		}
		sum := 0.0
		for i, q := range c.questions {
			question, err := json.Marshal(q)
			if err != nil {
				return err
			}
			var f found
			body := fmt.Sprintf(`{"size":10,"query":{"multi_match":{"query":%s,"type":"most_fields","fields":["title","text"]}}}`, question)
			if err := s.into(ctx, &f, "POST", "/"+index+"/_search", body); err != nil {
				return err
			}
			var ranked []int
			for _, h := range f.Hits.Hits {
				var d struct{ Number int }
				if err := json.Unmarshal(h.Source, &d); err != nil {
					return err
				}
				ranked = append(ranked, d.Number)
			}
			sum += ndcg(ranked, c.relevant[i+1])
		}
		scores[analyzer] = sum / float64(len(c.questions))
		fmt.Printf("ok    cranfield: nDCG@10 with analyzer %s: %.4f\n", analyzer, scores[analyzer])
	}
	if scores["english"] < ndcgLeast {
		return fmt.Errorf("nDCG@10 with stemming is %.4f, want %.2f at least", scores["english"], ndcgLeast)
	}
	return nil
}

// ndcg is nDCG@10 where a document's gain is whether it was judged relevant.
func ndcg(ranked []int, relevant map[int]bool) float64 {
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

// collection is the Cranfield collection. Questions and documents have numbers
// from 1.
type collection struct {
	documents [][]byte
	questions []string
	relevant  map[int]map[int]bool // documents by question
}

func readCranfield(dir string) (*collection, error) {
	c := &collection{relevant: map[int]map[int]bool{}}
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
		text, err := json.Marshal(map[string]any{"number": d.Number, "title": d.Title, "text": d.Text})
		if err != nil {
			return nil, err
		}
		c.documents = append(c.documents, text)
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
		c.questions = append(c.questions, q.Title)
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
		if c.relevant[numbers[0]] == nil {
			c.relevant[numbers[0]] = map[int]bool{}
		}
		c.relevant[numbers[0]][numbers[1]] = true
	}
	if len(c.documents) != 1400 || len(c.questions) != 225 || len(c.relevant) < 200 {
		return nil, fmt.Errorf("%s has %d documents, %d questions, judgments of %d", dir, len(c.documents), len(c.questions), len(c.relevant))
	}
	return c, nil
}
