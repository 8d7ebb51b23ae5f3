package main

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"
)

// reviews is how many the demo makes.
const reviews = 2000

// review is what a customer of the shop wrote, and what it is about.
type review struct {
	Product string `json:"product"`
	Text    string `json:"text"`
	about   string
}

func (r review) JSON() []byte {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // texts always can be written
	}
	return text
}

// opinions are what reviews say, by what that is about.
var opinions = map[string][]string{
	"delay":   {"my parcel came two weeks late", "the package took forever", "still waiting for the delivery", "arrived long after the promised day"},
	"broken":  {"it came with a crack in the glass", "the handle fell off at once", "arrived in pieces", "leaks from the first day"},
	"price":   {"far too expensive for what it is", "a bargain", "I paid half of that elsewhere", "worth every cent"},
	"service": {"nobody answers the phone", "a friendly clerk sorted it out", "the hotline was of great help", "my mails were ignored"},
}

var (
	topicsOfReviews = []string{"delay", "broken", "price", "service"}
	products        = []string{"espresso maker", "teapot", "kettle", "grinder", "milk frother"}
	openings        = []string{"", "Sadly, ", "Well: ", "To be honest, ", "As always, "}
	closings        = []string{"", " Never mind.", " What a week!", " My sister says the same.", " I told you so."}
)

// inventReviews makes all reviews, the same ones for each seed.
func inventReviews(seed uint64) []review {
	random := rand.New(rand.NewPCG(seed, 1))
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	all := make([]review, reviews)
	for i := range all {
		about := pick(topicsOfReviews)
		product := pick(products)
		all[i] = review{
			Product: product, about: about,
			Text: fmt.Sprintf("%s%s.%s (%s, order %d)", pick(openings), pick(opinions[about]), pick(closings), product, 10_000+random.IntN(90_000)),
		}
	}
	return all
}

// meanings are the words that the demo's model understands: what they are about.
// Other words count a little, each for itself. Real models know more; how their
// vectors are searched is the same.
var meanings = func() map[string]int {
	words := map[string]int{}
	for i, about := range []string{
		"parcel package delivery waiting arrived late forever promised weeks shipment delayed slow overdue courier",
		"crack glass handle fell pieces leaks broken damaged cracked faulty shattered",
		"expensive bargain paid cent worth cheap price costly",
		"phone clerk hotline mails answers ignored help friendly support staff rude",
	} {
		for word := range strings.FieldsSeq(about) {
			words[word] = i
		}
	}
	return words
}()

// embed is the demo's model: how much of a text is about what.
func embed(text string, dimensions int) []float32 {
	v := make([]float32, dimensions)
	for word := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return r < 'a' || r > 'z' }) {
		if meaning, known := meanings[word]; known {
			v[meaning]++
			continue
		}
		h := fnv.New32a()
		_, _ = h.Write([]byte(word))
		v[len(topicsOfReviews)+int(h.Sum32())%(dimensions-len(topicsOfReviews))] += 0.1
	}
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	for i := range v {
		if sum > 0 {
			v[i] /= float32(math.Sqrt(sum))
		}
	}
	return v
}
