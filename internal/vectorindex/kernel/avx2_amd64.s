#include "textflag.h"

// Sums the lanes of Y0…Y3 into X0.
#define SUM256 \
	VADDPS       Y1, Y0, Y0   \
	VADDPS       Y3, Y2, Y2   \
	VADDPS       Y2, Y0, Y0   \
	VEXTRACTF128 $1, Y0, X1   \
	VADDPS       X1, X0, X0   \
	VPERMILPS    $0xEE, X0, X1 \
	VADDPS       X1, X0, X0   \
	VPERMILPS    $0x55, X0, X1 \
	VADDSS       X1, X0, X0   \
	VZEROUPPER

#define CLEAR256 \
	VPXOR Y0, Y0, Y0 \
	VPXOR Y1, Y1, Y1 \
	VPXOR Y2, Y2, Y2 \
	VPXOR Y3, Y3, Y3

// func dotF32AVX2(q *float32, row *byte, n int) float32
TEXT ·dotF32AVX2(SB), NOSPLIT, $0-28
	MOVQ q+0(FP), SI
	MOVQ row+8(FP), DI
	MOVQ n+16(FP), CX
	CLEAR256

many:
	CMPQ        CX, $32
	JLT         few
	VMOVUPS     (SI), Y4
	VMOVUPS     32(SI), Y5
	VMOVUPS     64(SI), Y6
	VMOVUPS     96(SI), Y7
	VFMADD231PS (DI), Y4, Y0
	VFMADD231PS 32(DI), Y5, Y1
	VFMADD231PS 64(DI), Y6, Y2
	VFMADD231PS 96(DI), Y7, Y3
	ADDQ        $128, SI
	ADDQ        $128, DI
	SUBQ        $32, CX
	JMP         many

few:
	CMPQ        CX, $8
	JLT         done
	VMOVUPS     (SI), Y4
	VFMADD231PS (DI), Y4, Y0
	ADDQ        $32, SI
	ADDQ        $32, DI
	SUBQ        $8, CX
	JMP         few

done:
	SUM256
	VMOVSS X0, ret+24(FP)
	RET

// func squareF32AVX2(q *float32, row *byte, n int) float32
TEXT ·squareF32AVX2(SB), NOSPLIT, $0-28
	MOVQ q+0(FP), SI
	MOVQ row+8(FP), DI
	MOVQ n+16(FP), CX
	CLEAR256

many:
	CMPQ        CX, $32
	JLT         few
	VMOVUPS     (SI), Y4
	VMOVUPS     32(SI), Y5
	VMOVUPS     64(SI), Y6
	VMOVUPS     96(SI), Y7
	VSUBPS      (DI), Y4, Y4
	VSUBPS      32(DI), Y5, Y5
	VSUBPS      64(DI), Y6, Y6
	VSUBPS      96(DI), Y7, Y7
	VFMADD231PS Y4, Y4, Y0
	VFMADD231PS Y5, Y5, Y1
	VFMADD231PS Y6, Y6, Y2
	VFMADD231PS Y7, Y7, Y3
	ADDQ        $128, SI
	ADDQ        $128, DI
	SUBQ        $32, CX
	JMP         many

few:
	CMPQ        CX, $8
	JLT         done
	VMOVUPS     (SI), Y4
	VSUBPS      (DI), Y4, Y4
	VFMADD231PS Y4, Y4, Y0
	ADDQ        $32, SI
	ADDQ        $32, DI
	SUBQ        $8, CX
	JMP         few

done:
	SUM256
	VMOVSS X0, ret+24(FP)
	RET

// func dotF16AVX2(q *float32, row *byte, n int) float32
TEXT ·dotF16AVX2(SB), NOSPLIT, $0-28
	MOVQ q+0(FP), SI
	MOVQ row+8(FP), DI
	MOVQ n+16(FP), CX
	CLEAR256

many:
	CMPQ        CX, $32
	JLT         few
	VCVTPH2PS   (DI), Y4
	VCVTPH2PS   16(DI), Y5
	VCVTPH2PS   32(DI), Y6
	VCVTPH2PS   48(DI), Y7
	VFMADD231PS (SI), Y4, Y0
	VFMADD231PS 32(SI), Y5, Y1
	VFMADD231PS 64(SI), Y6, Y2
	VFMADD231PS 96(SI), Y7, Y3
	ADDQ        $128, SI
	ADDQ        $64, DI
	SUBQ        $32, CX
	JMP         many

few:
	CMPQ        CX, $8
	JLT         done
	VCVTPH2PS   (DI), Y4
	VFMADD231PS (SI), Y4, Y0
	ADDQ        $32, SI
	ADDQ        $16, DI
	SUBQ        $8, CX
	JMP         few

done:
	SUM256
	VMOVSS X0, ret+24(FP)
	RET

// func squareF16AVX2(q *float32, row *byte, n int) float32
TEXT ·squareF16AVX2(SB), NOSPLIT, $0-28
	MOVQ q+0(FP), SI
	MOVQ row+8(FP), DI
	MOVQ n+16(FP), CX
	CLEAR256

many:
	CMPQ        CX, $32
	JLT         few
	VCVTPH2PS   (DI), Y4
	VCVTPH2PS   16(DI), Y5
	VCVTPH2PS   32(DI), Y6
	VCVTPH2PS   48(DI), Y7
	VSUBPS      (SI), Y4, Y4
	VSUBPS      32(SI), Y5, Y5
	VSUBPS      64(SI), Y6, Y6
	VSUBPS      96(SI), Y7, Y7
	VFMADD231PS Y4, Y4, Y0
	VFMADD231PS Y5, Y5, Y1
	VFMADD231PS Y6, Y6, Y2
	VFMADD231PS Y7, Y7, Y3
	ADDQ        $128, SI
	ADDQ        $64, DI
	SUBQ        $32, CX
	JMP         many

few:
	CMPQ        CX, $8
	JLT         done
	VCVTPH2PS   (DI), Y4
	VSUBPS      (SI), Y4, Y4
	VFMADD231PS Y4, Y4, Y0
	ADDQ        $32, SI
	ADDQ        $16, DI
	SUBQ        $8, CX
	JMP         few

done:
	SUM256
	VMOVSS X0, ret+24(FP)
	RET

// Sums the lanes of a Y into out[k]; X is its lower half.
#define SUMI256(Y, X, k) \
	VEXTRACTI128 $1, Y, X12    \
	VPADDD       X12, X, X     \
	VPSHUFD      $0xEE, X, X12 \
	VPADDD       X12, X, X     \
	VPSHUFD      $0x55, X, X12 \
	VPADDD       X12, X, X     \
	VMOVD        X, k(R11)

// func dotI8AVX2(q *byte, base *byte, stride int, ids *uint32, count int, n int, out *int32)
//
// Codes are widened to 16 bits first: products of bytes, added in pairs, do not
// fit in 16.
TEXT ·dotI8AVX2(SB), NOSPLIT, $0-56
	MOVQ q+0(FP), SI
	MOVQ base+8(FP), DI
	MOVQ stride+16(FP), DX
	MOVQ ids+24(FP), R8
	MOVQ count+32(FP), R9
	MOVQ n+40(FP), R10
	MOVQ out+48(FP), R11
	MOVL $0x00800080, AX
	VMOVD AX, X10
	VPBROADCASTD X10, Y10

four:
	CMPQ  R9, $4
	JLT   one
	MOVL  (R8), AX
	MOVL  4(R8), BX
	MOVL  8(R8), R12
	MOVL  12(R8), R13
	IMULQ DX, AX
	IMULQ DX, BX
	IMULQ DX, R12
	IMULQ DX, R13
	ADDQ  DI, AX
	ADDQ  DI, BX
	ADDQ  DI, R12
	ADDQ  DI, R13
	CLEAR256
	XORQ  CX, CX

fourMany:
	CMPQ      CX, R10
	JGE       fourDone
	VPMOVZXBW (SI)(CX*1), Y4
	VPSUBW    Y10, Y4, Y4
	VPMOVZXBW (AX)(CX*1), Y5
	VPMOVZXBW (BX)(CX*1), Y6
	VPMOVZXBW (R12)(CX*1), Y7
	VPMOVZXBW (R13)(CX*1), Y8
	VPSUBW    Y10, Y5, Y5
	VPMADDWD  Y4, Y5, Y5
	VPSUBW    Y10, Y6, Y6
	VPMADDWD  Y4, Y6, Y6
	VPSUBW    Y10, Y7, Y7
	VPMADDWD  Y4, Y7, Y7
	VPSUBW    Y10, Y8, Y8
	VPMADDWD  Y4, Y8, Y8
	VPADDD    Y5, Y0, Y0
	VPADDD    Y6, Y1, Y1
	VPADDD    Y7, Y2, Y2
	VPADDD    Y8, Y3, Y3
	ADDQ      $16, CX
	JMP       fourMany

fourDone:
	SUMI256(Y0, X0, 0)
	SUMI256(Y1, X1, 4)
	SUMI256(Y2, X2, 8)
	SUMI256(Y3, X3, 12)
	ADDQ $16, R8
	ADDQ $16, R11
	SUBQ $4, R9
	JMP  four

one:
	TESTQ R9, R9
	JZ    end
	MOVL  (R8), AX
	IMULQ DX, AX
	ADDQ  DI, AX
	VPXOR Y0, Y0, Y0
	XORQ  CX, CX

oneMany:
	CMPQ      CX, R10
	JGE       oneDone
	VPMOVZXBW (SI)(CX*1), Y4
	VPSUBW    Y10, Y4, Y4
	VPMOVZXBW (AX)(CX*1), Y5
	VPSUBW    Y10, Y5, Y5
	VPMADDWD  Y4, Y5, Y5
	VPADDD    Y5, Y0, Y0
	ADDQ      $16, CX
	JMP       oneMany

oneDone:
	SUMI256(Y0, X0, 0)
	ADDQ $4, R8
	ADDQ $4, R11
	DECQ R9
	JMP  one

end:
	VZEROUPPER
	RET
