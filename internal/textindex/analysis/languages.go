package analysis

import (
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
type language struct {
	stem func(*snowballstem.Env) bool
	stop []string
}

// languages by ISO 639-1 code. Stop words are those that Lucene's English
// analyzer leaves out; other languages have none: their frequent words weigh
// little in BM25 as it is.
var languages = map[string]language{
	"ar": {stem: arabic.Stem},
	"da": {stem: danish.Stem},
	"de": {stem: german.Stem},
	"en": {stem: english.Stem, stop: strings.Fields(stopEnglish)},
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

const stopEnglish = `a an and are as at be but by for if in into is it no not of on or such
that the their then there these they this to was will with`
