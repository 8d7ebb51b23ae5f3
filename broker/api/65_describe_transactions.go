package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/broker/wire"
)

// DescribeTransactions
//
//   - 0 flexible from the start.
//
// There are no transactions, so no transactional id is known.
func describeTransactionsRoute() *route {
	return &route{key: 65, name: "DescribeTransactions", min: 0, max: 0, start: whole(describeTransactions),
		note: "no transactions: answered TRANSACTIONAL_ID_NOT_FOUND"}
}

func describeTransactions(_ context.Context, _ *Handler, _ *wire.Request, req *kmsg.DescribeTransactionsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeTransactionsResponse()
	resp.TransactionStates = make([]kmsg.DescribeTransactionsResponseTransactionState, len(req.TransactionalIDs))
	for i, id := range req.TransactionalIDs {
		resp.TransactionStates[i] = kmsg.DescribeTransactionsResponseTransactionState{
			TransactionalID: id, ErrorCode: kerr.TransactionalIDNotFound.Code,
			Topics: []kmsg.DescribeTransactionsResponseTransactionStateTopic{},
		}
	}
	return resp
}
