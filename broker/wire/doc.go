// Package wire moves Kafka frames between sockets and a Handler.
//
// It knows framing and the request header, and nothing of what a request means.
// It promises, per connection:
//
//   - Requests are started in the order in which they came, and answered in that
//     order. Several may be under way: the handler starts a request in the reading
//     goroutine and finishes it in the writing one, so pipelined produces share
//     one sync of the disk while a long poll holds back only its own connection.
//   - Memory follows what really arrived, never what was announced, and is bounded:
//     a frame by its limit, a connection by its pipeline and its bytes, all of them
//     by one budget of bytes and one of requests. Past a bound the socket is not
//     read, which the client's TCP feels. Each bound is a setting and has a metric.
//     So are the answers that clients have not taken, as far as the handler heeds
//     Conn.AnswerRoom and AwaitAnswerRoom. When memory is short, clients that stand
//     still with it are cut off.
//   - A client that stops in the middle of a request or an answer is cut off, and
//     one that is over its quota is not read until it is not (Mute).
//   - Bytes that are not a frame end the connection and nothing else.
//
// A frame is
//
//	length int32 | key int16 | version int16 | correlation int32 | client id nullable string | …
//
// where header version 2 puts tagged fields after the client id: the handler
// knows which versions those are, and skips them by Request.SkipTags.
package wire
