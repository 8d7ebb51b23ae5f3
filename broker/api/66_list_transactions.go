package api

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// ListTransactions
//
//   - 0 flexible from the start; 1 only those that run for some time.
//
// There are no transactions to list. States that do not exist are named, as a
// client that misspells one is to know.
func listTransactionsRoute() *route {
	return &route{key: 66, name: "ListTransactions", min: 0, max: 1, start: whole(listTransactions), note: "no transactions: empty"}
}

func listTransactions(_ context.Context, _ *Handler, _ *wire.Request, req *kmsg.ListTransactionsRequest) kmsg.Response {
	resp := kmsg.NewPtrListTransactionsResponse()
	resp.TransactionStates = []kmsg.ListTransactionsResponseTransactionState{}
	resp.UnknownStateFilters = []string{}
	for _, state := range req.StateFilters {
		if !slices.Contains(transactionStates(), state) {
			resp.UnknownStateFilters = append(resp.UnknownStateFilters, state)
		}
	}
	return resp
}

// transactionStates are the states that Kafka's coordinator knows.
func transactionStates() []string {
	return []string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence"}
}
