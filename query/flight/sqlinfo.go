package flight

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/flight"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql"
	"github.com/apache/arrow-go/v18/arrow/flight/flightsql/schema_ref"
	pb "github.com/apache/arrow-go/v18/arrow/flight/gen/flight"
)

// bits are a bitmask of enumerated values.
func bits[E ~int32](values ...E) int32 {
	mask := int32(0)
	for _, v := range values {
		mask |= 1 << v
	}
	return mask
}

// serverInfo is what drivers ask of a server before anything else. JDBC's fails
// over what it does not find, so every entry is here.
func serverInfo(version string) flightsql.SqlInfoResultMap {
	info := flightsql.SqlInfoResultMap{}
	for _, part := range []map[flightsql.SqlInfo]any{
		serverFacts(version), identifierFacts(), dialectFacts(), refusedFacts(),
	} {
		for id, value := range part {
			info[uint32(id)] = value
		}
	}
	for _, id := range unbounded {
		info[uint32(id)] = int64(0) // no limit, or none that is known
	}
	return info
}

func serverFacts(version string) map[flightsql.SqlInfo]any {
	return map[flightsql.SqlInfo]any{
		flightsql.SqlInfoFlightSqlServerName:                        "Chronik",
		flightsql.SqlInfoFlightSqlServerVersion:                     version,
		flightsql.SqlInfoFlightSqlServerArrowVersion:                arrow.PkgVersion,
		flightsql.SqlInfoFlightSqlServerReadOnly:                    true,
		flightsql.SqlInfoFlightSqlServerSql:                         true,
		flightsql.SqlInfoFlightSqlServerSubstrait:                   false,
		flightsql.SqlInfoFlightSqlServerSubstraitMinVersion:         "",
		flightsql.SqlInfoFlightSqlServerSubstraitMaxVersion:         "",
		flightsql.SqlInfoFlightSqlServerTransaction:                 int32(flightsql.SqlTransactionNone),
		flightsql.SqlInfoFlightSqlServerCancel:                      true,
		flightsql.SqlInfoFlightSqlServerStatementTimeout:            int32(0), // there is one, which is the node's setting
		flightsql.SqlInfoFlightSqlServerTransactionTimeout:          int32(0),
		flightsql.SqlInfoFlightSqlServerBulkIngestion:               false,
		flightsql.SqlInfoFlightSqlServerIngestTransactionsSupported: false,
	}
}

func identifierFacts() map[flightsql.SqlInfo]any {
	return map[flightsql.SqlInfo]any{
		flightsql.SqlInfoIdentifierCase:       int32(flightsql.SqlCaseSensitivityCaseInsensitive),
		flightsql.SqlInfoQuotedIdentifierCase: int32(flightsql.SqlCaseSensitivityCaseInsensitive),
		flightsql.SqlInfoIdentifierQuoteChar:  `"`,
		flightsql.SqlInfoSearchStringEscape:   `\`,
		flightsql.SqlInfoExtraNameChars:       "",
		flightsql.SqlInfoCatalogTerm:          "catalog",
		flightsql.SqlInfoSchemaTerm:           "schema",
		flightsql.SqlInfoProcedureTerm:        "",
		flightsql.SqlInfoCatalogAtStart:       true,
		flightsql.SqlInfoKeywords:             []string{"QUALIFY", "EXCLUDE", "ASOF", "PIVOT", "UNPIVOT", "POSITIONAL", "SAMPLE", "STRUCT", "MAP"},
		flightsql.SqlInfoNumericFunctions:     []string{"abs", "ceil", "exp", "floor", "ln", "log10", "mod", "pow", "round", "sign", "sqrt"},
		flightsql.SqlInfoStringFunctions:      []string{"concat", "length", "lower", "upper", "replace", "substring", "trim", "decode_utf8", "decode_base64", "json_extract", "json_extract_string"},
		flightsql.SqlInfoSystemFunctions:      []string{"coalesce", "nullif", "ifnull"},
		flightsql.SqlInfoDateTimeFunctions:    []string{"date_trunc", "date_part", "date_diff", "epoch_ms", "now", "strftime", "time_bucket"},
	}
}

// dialectFacts are DuckDB's, as far as a query that only reads can tell.
func dialectFacts() map[flightsql.SqlInfo]any {
	return map[flightsql.SqlInfo]any{
		flightsql.SqlInfoAllTablesAreASelectable:                       true,
		flightsql.SqlInfoNullOrdering:                                  int32(pb.SqlNullOrdering_SQL_NULLS_SORTED_AT_END),
		flightsql.SqlInfoSupportsColumnAliasing:                        true,
		flightsql.SqlInfoNullPlusNullIsNull:                            true,
		flightsql.SqlInfoSupportsConvert:                               map[int32][]int32{},
		flightsql.SqlInfoSupportsTableCorrelationNames:                 true,
		flightsql.SqlInfoSupportsDifferentTableCorrelationNames:        false,
		flightsql.SqlInfoSupportsExpressionsInOrderBy:                  true,
		flightsql.SqlInfoSupportsOrderByUnrelated:                      true,
		flightsql.SqlInfoSupportedGroupBy:                              bits(pb.SqlSupportedGroupBy_SQL_GROUP_BY_UNRELATED, pb.SqlSupportedGroupBy_SQL_GROUP_BY_BEYOND_SELECT),
		flightsql.SqlInfoSupportsLikeEscapeClause:                      true,
		flightsql.SqlInfoSupportsNonNullableColumns:                    true,
		flightsql.SqlInfoSupportedGrammar:                              bits(pb.SupportedSqlGrammar_SQL_MINIMUM_GRAMMAR, pb.SupportedSqlGrammar_SQL_CORE_GRAMMAR),
		flightsql.SqlInfoANSI92SupportedLevel:                          bits(pb.SupportedAnsi92SqlGrammarLevel_ANSI92_ENTRY_SQL),
		flightsql.SqlInfoOuterJoinsSupportLevel:                        bits(pb.SqlOuterJoinsSupportLevel_SQL_LIMITED_OUTER_JOINS, pb.SqlOuterJoinsSupportLevel_SQL_FULL_OUTER_JOINS),
		flightsql.SqlInfoSchemasSupportedActions:                       int32(0),
		flightsql.SqlInfoCatalogsSupportedActions:                      int32(0),
		flightsql.SqlInfoSupportedSubqueries:                           bits(pb.SqlSupportedSubqueries_SQL_SUBQUERIES_IN_COMPARISONS, pb.SqlSupportedSubqueries_SQL_SUBQUERIES_IN_EXISTS, pb.SqlSupportedSubqueries_SQL_SUBQUERIES_IN_INS, pb.SqlSupportedSubqueries_SQL_SUBQUERIES_IN_QUANTIFIEDS),
		flightsql.SqlInfoCorrelatedSubqueriesSupported:                 true,
		flightsql.SqlInfoSupportedUnions:                               bits(pb.SqlSupportedUnions_SQL_UNION, pb.SqlSupportedUnions_SQL_UNION_ALL),
		flightsql.SqlInfoSupportedResultSetTypes:                       bits(pb.SqlSupportedResultSetType_SQL_RESULT_SET_TYPE_FORWARD_ONLY),
		flightsql.SqlInfoSupportedConcurrenciesForResultSetForwardOnly: bits(pb.SqlSupportedResultSetConcurrency_SQL_RESULT_SET_CONCURRENCY_READ_ONLY),
		flightsql.SqlInfoMaxStatements:                                 int64(0),
		flightsql.SqlInfoMaxRowSizeIncludesBlobs:                       true,
	}
}

// refusedFacts are about what writes, and what only other databases have.
func refusedFacts() map[flightsql.SqlInfo]any {
	return map[flightsql.SqlInfo]any{
		flightsql.SqlInfoDDLCatalog:                                          false,
		flightsql.SqlInfoDDLSchema:                                           false,
		flightsql.SqlInfoDDLTable:                                            false,
		flightsql.SqlInfoSupportsIntegrityEnhancementFacility:                false,
		flightsql.SqlInfoSupportedPositionedCommands:                         int32(0),
		flightsql.SqlInfoSelectForUpdateSupported:                            false,
		flightsql.SqlInfoStoredProceduresSupported:                           false,
		flightsql.SqlInfoTransactionsSupported:                               false,
		flightsql.SqlInfoDefaultTransactionIsolation:                         int64(pb.SqlTransactionIsolationLevel_SQL_TRANSACTION_NONE),
		flightsql.SqlInfoSupportedTransactionsIsolationlevels:                bits(pb.SqlTransactionIsolationLevel_SQL_TRANSACTION_NONE),
		flightsql.SqlInfoDataDefinitionCausesTransactionCommit:               false,
		flightsql.SqlInfoDataDefinitionsInTransactionsIgnored:                true,
		flightsql.SqlInfoSupportedConcurrenciesForResultSetUnspecified:       int32(0),
		flightsql.SqlInfoSupportedConcurrenciesForResultSetScrollSensitive:   int32(0),
		flightsql.SqlInfoSupportedConcurrenciesForResultSetScrollInsensitive: int32(0),
		flightsql.SqlInfoBatchUpdatesSupported:                               false,
		flightsql.SqlInfoSavePointsSupported:                                 false,
		flightsql.SqlInfoNamedParametersSupported:                            false,
		flightsql.SqlInfoLocatorsUpdateCopy:                                  false,
		flightsql.SqlInfoStoredFunctionsUsingCallSyntaxSupported:             false,
	}
}

// unbounded are the limits that a query does not have.
var unbounded = []flightsql.SqlInfo{
	flightsql.SqlInfoMaxBinaryLiteralLen, flightsql.SqlInfoMaxCharLiteralLen, flightsql.SqlInfoMaxColumnNameLen,
	flightsql.SqlInfoMaxColumnsInGroupBy, flightsql.SqlInfoMaxColumnsInIndex, flightsql.SqlInfoMaxColumnsInOrderBy,
	flightsql.SqlInfoMaxColumnsInSelect, flightsql.SqlInfoMaxColumnsInTable, flightsql.SqlInfoMaxConnections,
	flightsql.SqlInfoMaxCursorNameLen, flightsql.SqlInfoMaxIndexLen, flightsql.SqlInfoDBSchemaNameLen,
	flightsql.SqlInfoMaxProcedureNameLen, flightsql.SqlInfoMaxCatalogNameLen, flightsql.SqlInfoMaxRowSize,
	flightsql.SqlInfoMaxStatementLen, flightsql.SqlInfoMaxTableNameLen, flightsql.SqlInfoMaxTablesInSelect,
	flightsql.SqlInfoMaxUsernameLen,
}

// asked is a GetSqlInfo for some entries.
type asked []uint32

// GetInfo implements flightsql.GetSqlInfo.
func (a asked) GetInfo() []uint32 { return a }

// DoGetSqlInfo leaves out what is not known, as Flight SQL wants it; the
// library would refuse the whole request.
func (s *server) DoGetSqlInfo(ctx context.Context, r flightsql.GetSqlInfo) (*arrow.Schema, <-chan flight.StreamChunk, error) {
	known := asked{}
	for _, id := range r.GetInfo() {
		if _, ok := s.info[id]; ok {
			known = append(known, id)
		}
	}
	if len(r.GetInfo()) > 0 && len(known) == 0 {
		return empty(schema_ref.SqlInfo)
	}
	return s.BaseServer.DoGetSqlInfo(ctx, known)
}
