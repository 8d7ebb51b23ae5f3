// Package textquery is what a full-text search asks: queries, sort orders,
// aggregations, highlighting, as values; and the parsers of the languages in
// which clients write them.
//
// Parse reads the body of an Elasticsearch search request. ParseQueryString
// reads Lucene's query syntax, ParseSimple the forgiving syntax of
// simple_query_string, ParseURI the parameters of a search in a URL. All of
// them end in the same Query values, so that what executes them knows one
// language only.
//
// What is not supported is refused by name, with the line and the column at
// which it stands: a parameter that is dropped in silence would be a wrong
// answer. Nothing here knows fields, their types or their analyzers: that
// "now-1d/d" is a time, and what words "Running shoes" has, is decided where a
// query meets an index.
package textquery
