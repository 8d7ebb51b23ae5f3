#include "textflag.h"

// Sums the lanes of Z0, with those of Z1…Z3, into X0.
#define SUM512 \
	VADDPS       Z1, Z0, Z0   \
	VADDPS       Z3, Z2, Z2   \
	VADDPS       Z2, Z0, Z0   \
	VEXTRACTF64X4 $1, Z0, Y1  \
	VADDPS       Y1, Y0, Y0   \
	VEXTRACTF128 $1, Y0, X1   \
	VADDPS       X1, X0, X0   \
	VPERMILPS    $0xEE, X0, X1 \
	VADDPS       X1, X0, X0   \
	VPERMILPS    $0x55, X0, X1 \
	VADDSS       X1, X0, X0   \
	VZEROUPPER

#define CLEAR512 \
	VPXORQ Z0, Z0, Z0 \
	VPXORQ Z1, Z1, Z1 \
	VPXORQ Z2, Z2, Z2 \
	VPXORQ Z3, Z3, Z3

// Makes K1 a mask of the CX lowest lanes.
#define MASK \
	MOVL $1, AX  \
	SHLL CX, AX  \
	DECL AX      \
	KMOVW AX, K1

// func dotF32AVX512(q *float32, row *byte, n int) float32
TEXT ·dotF32AVX512(SB), NOSPLIT, $0-28
	MOVQ q+0(FP), SI
	MOVQ row+8(FP), DI
	MOVQ n+16(FP), CX
	CLEAR512

many:
	CMPQ        CX, $64
	JLT         few
	VMOVUPS     (SI), Z4
	VMOVUPS     64(SI), Z5
	VMOVUPS     128(SI), Z6
	VMOVUPS     192(SI), Z7
	VFMADD231PS (DI), Z4, Z0
	VFMADD231PS 64(DI), Z5, Z1
	VFMADD231PS 128(DI), Z6, Z2
	VFMADD231PS 192(DI), Z7, Z3
	ADDQ        $256, SI
	ADDQ        $256, DI
	SUBQ        $64, CX
	JMP         many

few:
	CMPQ        CX, $16
	JLT         rest
	VMOVUPS     (SI), Z4
	VFMADD231PS (DI), Z4, Z0
	ADDQ        $64, SI
	ADDQ        $64, DI
	SUBQ        $16, CX
	JMP         few

rest:
	TESTQ       CX, CX
	JZ          done
	MASK
	VMOVUPS.Z   (SI), K1, Z4
	VMOVUPS.Z   (DI), K1, Z5
	VFMADD231PS Z5, Z4, Z1

done:
	SUM512
	VMOVSS X0, ret+24(FP)
	RET

// func squareF32AVX512(q *float32, row *byte, n int) float32
TEXT ·squareF32AVX512(SB), NOSPLIT, $0-28
	MOVQ q+0(FP), SI
	MOVQ row+8(FP), DI
	MOVQ n+16(FP), CX
	CLEAR512

many:
	CMPQ        CX, $64
	JLT         few
	VMOVUPS     (SI), Z4
	VMOVUPS     64(SI), Z5
	VMOVUPS     128(SI), Z6
	VMOVUPS     192(SI), Z7
	VSUBPS      (DI), Z4, Z4
	VSUBPS      64(DI), Z5, Z5
	VSUBPS      128(DI), Z6, Z6
	VSUBPS      192(DI), Z7, Z7
	VFMADD231PS Z4, Z4, Z0
	VFMADD231PS Z5, Z5, Z1
	VFMADD231PS Z6, Z6, Z2
	VFMADD231PS Z7, Z7, Z3
	ADDQ        $256, SI
	ADDQ        $256, DI
	SUBQ        $64, CX
	JMP         many

few:
	CMPQ        CX, $16
	JLT         rest
	VMOVUPS     (SI), Z4
	VSUBPS      (DI), Z4, Z4
	VFMADD231PS Z4, Z4, Z0
	ADDQ        $64, SI
	ADDQ        $64, DI
	SUBQ        $16, CX
	JMP         few

rest:
	TESTQ       CX, CX
	JZ          done
	MASK
	VMOVUPS.Z   (SI), K1, Z4
	VMOVUPS.Z   (DI), K1, Z5
	VSUBPS      Z5, Z4, Z4
	VFMADD231PS Z4, Z4, Z1

done:
	SUM512
	VMOVSS X0, ret+24(FP)
	RET

// func dotF16AVX512(q *float32, row *byte, n int) float32
TEXT ·dotF16AVX512(SB), NOSPLIT, $0-28
	MOVQ q+0(FP), SI
	MOVQ row+8(FP), DI
	MOVQ n+16(FP), CX
	CLEAR512

many:
	CMPQ        CX, $64
	JLT         few
	VCVTPH2PS   (DI), Z4
	VCVTPH2PS   32(DI), Z5
	VCVTPH2PS   64(DI), Z6
	VCVTPH2PS   96(DI), Z7
	VFMADD231PS (SI), Z4, Z0
	VFMADD231PS 64(SI), Z5, Z1
	VFMADD231PS 128(SI), Z6, Z2
	VFMADD231PS 192(SI), Z7, Z3
	ADDQ        $256, SI
	ADDQ        $128, DI
	SUBQ        $64, CX
	JMP         many

few:
	CMPQ        CX, $16
	JLT         rest
	VCVTPH2PS   (DI), Z4
	VFMADD231PS (SI), Z4, Z0
	ADDQ        $64, SI
	ADDQ        $32, DI
	SUBQ        $16, CX
	JMP         few

rest:
	TESTQ       CX, CX
	JZ          done
	MASK
	VMOVUPS.Z   (SI), K1, Z4
	VMOVDQU16.Z (DI), K1, Y5
	VCVTPH2PS   Y5, Z5
	VFMADD231PS Z5, Z4, Z1

done:
	SUM512
	VMOVSS X0, ret+24(FP)
	RET

// func squareF16AVX512(q *float32, row *byte, n int) float32
TEXT ·squareF16AVX512(SB), NOSPLIT, $0-28
	MOVQ q+0(FP), SI
	MOVQ row+8(FP), DI
	MOVQ n+16(FP), CX
	CLEAR512

many:
	CMPQ        CX, $64
	JLT         few
	VCVTPH2PS   (DI), Z4
	VCVTPH2PS   32(DI), Z5
	VCVTPH2PS   64(DI), Z6
	VCVTPH2PS   96(DI), Z7
	VSUBPS      (SI), Z4, Z4
	VSUBPS      64(SI), Z5, Z5
	VSUBPS      128(SI), Z6, Z6
	VSUBPS      192(SI), Z7, Z7
	VFMADD231PS Z4, Z4, Z0
	VFMADD231PS Z5, Z5, Z1
	VFMADD231PS Z6, Z6, Z2
	VFMADD231PS Z7, Z7, Z3
	ADDQ        $256, SI
	ADDQ        $128, DI
	SUBQ        $64, CX
	JMP         many

few:
	CMPQ        CX, $16
	JLT         rest
	VCVTPH2PS   (DI), Z4
	VSUBPS      (SI), Z4, Z4
	VFMADD231PS Z4, Z4, Z0
	ADDQ        $64, SI
	ADDQ        $32, DI
	SUBQ        $16, CX
	JMP         few

rest:
	TESTQ       CX, CX
	JZ          done
	MASK
	VMOVUPS.Z   (SI), K1, Z4
	VMOVDQU16.Z (DI), K1, Y5
	VCVTPH2PS   Y5, Z5
	VSUBPS      Z5, Z4, Z4
	VFMADD231PS Z4, Z4, Z1

done:
	SUM512
	VMOVSS X0, ret+24(FP)
	RET

// Sums the lanes of a Z into out[k]; Y is its lower half, X its quarter.
#define SUMI512(Z, Y, X, k) \
	VEXTRACTI64X4 $1, Z, Y12   \
	VPADDD        Y12, Y, Y    \
	VEXTRACTI128  $1, Y, X12   \
	VPADDD        X12, X, X    \
	VPSHUFD       $0xEE, X, X12 \
	VPADDD        X12, X, X    \
	VPSHUFD       $0x55, X, X12 \
	VPADDD        X12, X, X    \
	VMOVD         X, k(R11)

// func dotI8AVX512(q *byte, base *byte, stride int, ids *uint32, count int, n int, out *int32)
//
// VPDPBUSD multiplies bytes without a sign and bytes with one: those of the rows
// stay as they are, and the sums begin at what their 128 too much will add.
// Four rows at once: the query is loaded once for them, and their cache misses
// overlap.
TEXT ·dotI8AVX512(SB), NOSPLIT, $0-56
	MOVQ  q+0(FP), SI
	MOVQ  base+8(FP), DI
	MOVQ  stride+16(FP), DX
	MOVQ  ids+24(FP), R8
	MOVQ  count+32(FP), R9
	MOVQ  n+40(FP), R10
	MOVQ  out+48(FP), R11
	MOVQ  R10, CX
	ANDQ  $63, CX
	MOVQ  $1, AX
	SHLQ  CX, AX
	DECQ  AX
	KMOVQ AX, K1
	ANDQ  $-64, R10
	MOVL  $0x80808080, AX
	VPBROADCASTD AX, Z10
	VPXORQ Z9, Z9, Z9
	XORQ  CX, CX

sum:
	CMPQ     CX, R10
	JGE      sumRest
	VPXORQ   (SI)(CX*1), Z10, Z4
	VPDPBUSD Z4, Z10, Z9
	ADDQ     $64, CX
	JMP      sum

sumRest:
	VMOVDQU8.Z (SI)(CX*1), K1, Z11
	VPXORQ     Z11, Z10, Z11
	VMOVDQU8.Z Z11, K1, Z11
	VPDPBUSD   Z11, Z10, Z9
	VPXORQ     Z4, Z4, Z4
	VPSUBD     Z9, Z4, Z9

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
	VMOVDQA64 Z9, Z0
	VMOVDQA64 Z9, Z1
	VMOVDQA64 Z9, Z2
	VMOVDQA64 Z9, Z3
	XORQ  CX, CX

fourMany:
	CMPQ      CX, R10
	JGE       fourRest
	VPXORQ    (SI)(CX*1), Z10, Z4
	VMOVDQU64 (AX)(CX*1), Z5
	VMOVDQU64 (BX)(CX*1), Z6
	VMOVDQU64 (R12)(CX*1), Z7
	VMOVDQU64 (R13)(CX*1), Z8
	VPDPBUSD  Z4, Z5, Z0
	VPDPBUSD  Z4, Z6, Z1
	VPDPBUSD  Z4, Z7, Z2
	VPDPBUSD  Z4, Z8, Z3
	ADDQ      $64, CX
	JMP       fourMany

fourRest:
	VMOVDQU8.Z (AX)(CX*1), K1, Z5
	VMOVDQU8.Z (BX)(CX*1), K1, Z6
	VMOVDQU8.Z (R12)(CX*1), K1, Z7
	VMOVDQU8.Z (R13)(CX*1), K1, Z8
	VPDPBUSD   Z11, Z5, Z0
	VPDPBUSD   Z11, Z6, Z1
	VPDPBUSD   Z11, Z7, Z2
	VPDPBUSD   Z11, Z8, Z3
	SUMI512(Z0, Y0, X0, 0)
	SUMI512(Z1, Y1, X1, 4)
	SUMI512(Z2, Y2, X2, 8)
	SUMI512(Z3, Y3, X3, 12)
	ADDQ       $16, R8
	ADDQ       $16, R11
	SUBQ       $4, R9
	JMP        four

one:
	TESTQ  R9, R9
	JZ     end
	MOVL   (R8), AX
	IMULQ  DX, AX
	ADDQ   DI, AX
	VMOVDQA64 Z9, Z0
	XORQ   CX, CX

oneMany:
	CMPQ      CX, R10
	JGE       oneRest
	VPXORQ    (SI)(CX*1), Z10, Z4
	VMOVDQU64 (AX)(CX*1), Z5
	VPDPBUSD  Z4, Z5, Z0
	ADDQ      $64, CX
	JMP       oneMany

oneRest:
	VMOVDQU8.Z (AX)(CX*1), K1, Z5
	VPDPBUSD   Z11, Z5, Z0
	SUMI512(Z0, Y0, X0, 0)
	ADDQ       $4, R8
	ADDQ       $4, R11
	DECQ       R9
	JMP        one

end:
	VZEROUPPER
	RET

// func hammingAVX512(q *byte, base *byte, stride int, ids *uint32, count int, n int, out *int32)
TEXT ·hammingAVX512(SB), NOSPLIT, $0-56
	MOVQ  q+0(FP), SI
	MOVQ  base+8(FP), DI
	MOVQ  stride+16(FP), DX
	MOVQ  ids+24(FP), R8
	MOVQ  count+32(FP), R9
	MOVQ  n+40(FP), R10
	MOVQ  out+48(FP), R11
	MOVQ  R10, CX
	ANDQ  $63, CX
	MOVQ  $1, AX
	SHLQ  CX, AX
	DECQ  AX
	KMOVQ AX, K1
	ANDQ  $-64, R10

one:
	TESTQ  R9, R9
	JZ     end
	MOVL   (R8), AX
	IMULQ  DX, AX
	ADDQ   DI, AX
	VPXORQ Z0, Z0, Z0
	XORQ   CX, CX

many:
	CMPQ      CX, R10
	JGE       rest
	VMOVDQU64 (SI)(CX*1), Z4
	VPXORQ    (AX)(CX*1), Z4, Z4
	VPOPCNTQ  Z4, Z4
	VPADDQ    Z4, Z0, Z0
	ADDQ      $64, CX
	JMP       many

rest:
	VMOVDQU8.Z (SI)(CX*1), K1, Z4
	VMOVDQU8.Z (AX)(CX*1), K1, Z5
	VPXORQ     Z5, Z4, Z4
	VPOPCNTQ   Z4, Z4
	VPADDQ     Z4, Z0, Z0
	SUMI512(Z0, Y0, X0, 0)
	ADDQ       $4, R8
	ADDQ       $4, R11
	DECQ       R9
	JMP        one

end:
	VZEROUPPER
	RET
