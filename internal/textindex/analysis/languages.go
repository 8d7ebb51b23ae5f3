package analysis

import (
	"embed"
	"strings"

	"github.com/blevesearch/snowballstem"
	"github.com/blevesearch/snowballstem/arabic"
	"github.com/blevesearch/snowballstem/danish"
	"github.com/blevesearch/snowballstem/dutch"
	"github.com/blevesearch/snowballstem/english"
	"github.com/blevesearch/snowballstem/finnish"
	"github.com/blevesearch/snowballstem/french"
	"github.com/blevesearch/snowballstem/german"
	"github.com/blevesearch/snowballstem/hungarian"
	"github.com/blevesearch/snowballstem/irish"
	"github.com/blevesearch/snowballstem/italian"
	"github.com/blevesearch/snowballstem/norwegian"
	"github.com/blevesearch/snowballstem/portuguese"
	"github.com/blevesearch/snowballstem/romanian"
	"github.com/blevesearch/snowballstem/russian"
	"github.com/blevesearch/snowballstem/spanish"
	"github.com/blevesearch/snowballstem/swedish"
	"github.com/blevesearch/snowballstem/tamil"
	"github.com/blevesearch/snowballstem/turkish"
)

// language is how the words of one are reduced.
type language struct{ stem func(*snowballstem.Env) bool }

// stopFiles are words that say nothing, those that Lucene's analyzer of the
// language leaves out. Tamil has none there. A line that begins with # tells whose
// they are.
//
//go:embed stop/*.txt
var stopFiles embed.FS

// stopWords reads the stop words of a language.
func stopWords(code string) map[string]bool {
	words := make(map[string]bool)
	text, _ := stopFiles.ReadFile("stop/" + code + ".txt") // there is none: no words
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		for word := range strings.FieldsSeq(line) {
			words[word] = true
		}
	}
	return words
}

// languages by ISO 639-1 code.
var languages = map[string]language{
	"ar": {stem: arabic.Stem},
	"da": {stem: danish.Stem},
	"de": {stem: german.Stem},
	"en": {stem: english.Stem},
	"es": {stem: spanish.Stem},
	"fi": {stem: finnish.Stem},
	"fr": {stem: french.Stem},
	"ga": {stem: irish.Stem},
	"hu": {stem: hungarian.Stem},
	"it": {stem: italian.Stem},
	"nl": {stem: dutch.Stem},
	"no": {stem: norwegian.Stem},
	"pt": {stem: portuguese.Stem},
	"ro": {stem: romanian.Stem},
	"ru": {stem: russian.Stem},
	"sv": {stem: swedish.Stem},
	"ta": {stem: tamil.Stem},
	"tr": {stem: turkish.Stem},
}
