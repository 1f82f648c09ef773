// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.machine;

import static io.sfumato.tensor.cpu.machine.Assembler.Address.at;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R10;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R11;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R12;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R13;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R15;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R8;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.R9;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RAX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RBP;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RBX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RCX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RDI;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RDX;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RSI;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RSP;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.HexFormat;
import java.util.function.Consumer;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Expected bytes are those of the GNU assembler (binutils 2.40, Intel syntax). */
class AssemblerTest {
  private static Arguments code(String text, String bytes, Consumer<Assembler> instruction) {
    return Arguments.of(text, bytes, instruction);
  }

  static Arguments[] instructions() {
    return new Arguments[] {
      code("vpxord zmm0,zmm0,zmm0", "62f17d48efc0", a -> a.vpxord(0, 0, 0)),
      code("vpxord zmm27,zmm27,zmm27", "62012540efdb", a -> a.vpxord(27, 27, 27)),
      code("vpxord zmm8,zmm17,zmm30", "62117540efc6", a -> a.vpxord(8, 17, 30)),
      code("vmovups zmm28,[r8]", "62417c481020", a -> a.vmovups(28, at(R8, 0))),
      code("vmovups zmm29,[r8+64]", "62417c48106801", a -> a.vmovups(29, at(R8, 64))),
      code("vmovups zmm5,[r13]", "62d17c48106d00", a -> a.vmovups(5, at(R13, 0))),
      code("vmovups zmm5,[r12+8128]", "62d17c48106c247f", a -> a.vmovups(5, at(R12, 8128))),
      code("vmovups zmm16,[rsp-8192]", "62e17c4810442480", a -> a.vmovups(16, at(RSP, -8192))),
      code("vmovups zmm1,[rbx+100]", "62f17c48108b64000000", a -> a.vmovups(1, at(RBX, 100))),
      code("vmovups [r12],zmm31", "62417c48113c24", a -> a.vmovups(at(R12, 0), 31)),
      code("vmovups [rbp+8192],zmm9", "62717c48118d00200000", a -> a.vmovups(at(RBP, 8192), 9)),
      code("vmovups [rax+rdx*4],zmm2", "62f17c48111490", a -> a.vmovups(at(RAX, 4, RDX), 2)),
      code("vbroadcastss zmm30,[rsi+52]", "62627d4818760d", a -> a.vbroadcastss(30, at(RSI, 52))),
      code(
          "vbroadcastss zmm31,[r11+rdx*8]",
          "62427d48183cd3",
          a -> a.vbroadcastss(31, at(R11, 8, RDX))),
      code(
          "vbroadcastss zmm3,[r10+r15*2]",
          "62927d48181c7a",
          a -> a.vbroadcastss(3, at(R10, 2, R15))),
      code(
          "vbroadcastss zmm3,[rsi+512]",
          "62f27d48189e00020000",
          a -> a.vbroadcastss(3, at(RSI, 512))),
      code("vaddps zmm12,zmm25,[rsi+64]", "62713440586601", a -> a.vaddps(12, 25, at(RSI, 64))),
      code("vaddps zmm12,zmm13,zmm25", "6211144858e1", a -> a.vaddps(12, 13, 25)),
      code(
          "vaddps zmm18,zmm18,[r10+r15]{1to16}",
          "62816c5058143a",
          a -> a.vaddpsBroadcast(18, 18, at(R10, 1, R15))),
      code("vmulps zmm16,zmm27,zmm3", "62e1244059c3", a -> a.vmulps(16, 27, 3)),
      code("vdivps zmm2,zmm18,zmm5", "62f16c405ed5", a -> a.vdivps(2, 18, 5)),
      code("vsqrtps zmm21,zmm3", "62e17c4851eb", a -> a.vsqrtps(21, 3)),
      code(
          "vmovups [r13+rax]{k1},zmm3",
          "62d17c49115c0500",
          a -> a.vmovupsMasked(at(R13, 1, RAX), 1, 3)),
      code("vsubps zmm3{k1}{z},zmm3,zmm15", "62d164c95cdf", a -> a.vsubpsMasked(3, 1, 3, 15)),
      code("vcompressps zmm19{k2}{z},zmm18", "62a27dca8ad3", a -> a.vcompressps(19, 2, 18)),
      code(
          "vshuff32x4 zmm18,zmm4,zmm21,0x44", "62a35d4823d544", a -> a.vshuff32x4(18, 4, 21, 0x44)),
      code("vbroadcastsd zmm31,[rsp+96]", "6262fd48197c240c", a -> a.vbroadcastsd(31, at(RSP, 96))),
      code("vaddpd zmm5,zmm21,zmm18", "62b1d54058ea", a -> a.vaddpd(5, 21, 18)),
      code("vaddpd zmm22{k4},zmm22,zmm24", "6281cd4458f0", a -> a.vaddpdMasked(22, 4, 22, 24)),
      code("vmulpd zmm19,zmm30,zmm8", "62c18d4059d8", a -> a.vmulpd(19, 30, 8)),
      code("vsubpd zmm18,zmm8,zmm18", "62a1bd485cd2", a -> a.vsubpd(18, 8, 18)),
      code("vdivpd zmm18,zmm26,zmm3", "62e1ad405ed3", a -> a.vdivpd(18, 26, 3)),
      code("vmaxpd zmm18,zmm28,zmm2", "62e19d405fd2", a -> a.vmaxpd(18, 28, 2)),
      code("vsqrtpd zmm18,zmm17", "62a1fd4851d1", a -> a.vsqrtpd(18, 17)),
      code("vcmpnlepd k4,zmm18,zmm19", "62b1ed40c2e306", a -> a.vcmpnlepd(4, 18, 19)),
      code("vcvtps2pd zmm26,ymm4", "62617c485ad4", a -> a.vcvtps2pd(26, 4)),
      code("vcvtpd2ps ymm18,zmm9", "62c1fd485ad1", a -> a.vcvtpd2ps(18, 9)),
      code("vextractf64x4 ymm5,zmm20,1", "62e3fd481be501", a -> a.vextractUpper(5, 20)),
      code("vpermilpd zmm18,zmm5,0x55", "62e3fd4805d555", a -> a.vpermilpdSwap(18, 5)),
      code("vpermpd zmm18,zmm25,0x4e", "6283fd4801d14e", a -> a.vpermpdSwap(18, 25)),
      code("vshuff64x2 zmm4,zmm20,zmm5,0x88", "62f3dd4023e588", a -> a.vshuff64x2(4, 20, 5, 0x88)),
      code("vfmadd231ps zmm26,zmm28,zmm30", "62021d40b8d6", a -> a.vfmadd231ps(26, 28, 30)),
      code("vfmadd231ps zmm1,zmm2,zmm3", "62f26d48b8cb", a -> a.vfmadd231ps(1, 2, 3)),
      code(
          "vfmadd231ps zmm13,zmm29,[rsi+24]{1to16}",
          "62721550b86e06",
          a -> a.vfmadd231psBroadcast(13, 29, at(RSI, 24))),
      code(
          "vfmadd231ps zmm27,zmm5,[r11]{1to16}",
          "62425558b81b",
          a -> a.vfmadd231psBroadcast(27, 5, at(R11, 0))),
      code(
          "vfmadd231ps zmm27,zmm5,[r11-512]{1to16}",
          "62425558b85b80",
          a -> a.vfmadd231psBroadcast(27, 5, at(R11, -512))),
      code("vmovups zmm0{k1}{z},[rdx]", "62f17cc91002", a -> a.vmovupsMasked(0, 1, at(RDX, 0))),
      code(
          "vmovups zmm17{k2}{z},[r10+rcx]",
          "62c17cca100c0a",
          a -> a.vmovupsMasked(17, 2, at(R10, 1, RCX))),
      code("vfmadd213ps zmm1,zmm9,zmm21", "62b23548a8cd", a -> a.vfmadd213ps(1, 9, 21)),
      code("vfmadd213ps zmm28,zmm2,zmm3", "62626d48a8e3", a -> a.vfmadd213ps(28, 2, 3)),
      code("vmulps zmm1{k4}{z},zmm1,zmm11", "62d174cc59cb", a -> a.vmulpsMasked(1, 4, 1, 11)),
      code("vmulps zmm17{k1}{z},zmm25,zmm30", "628134c159ce", a -> a.vmulpsMasked(17, 1, 25, 30)),
      code("vcmpnltps k3{k1},zmm9,zmm18", "62b13449c2da05", a -> a.vcmpnltpsMasked(3, 1, 9, 18)),
      code("vcmpnltps k4{k2},zmm28,zmm1", "62f11c42c2e105", a -> a.vcmpnltpsMasked(4, 2, 28, 1)),
      code(
          "vmovups zmm1{k2}{z},[r12+64]",
          "62d17cca104c2401",
          a -> a.vmovupsMasked(1, 2, at(R12, 64))),
      code("vsubps zmm0,zmm20,zmm2", "62f15c405cc2", a -> a.vsubps(0, 20, 2)),
      code("vpaddd zmm31,zmm1,zmm18", "62217548fefa", a -> a.vpaddd(31, 1, 18)),
      code("vpandd zmm2,zmm17,zmm30", "62917540dbd6", a -> a.vpandd(2, 17, 30)),
      code("vpord zmm4,zmm19,zmm3", "62f16540ebe3", a -> a.vpord(4, 19, 3)),
      code("vpsrld zmm19,zmm2,16", "62f1654072d210", a -> a.vpsrld(19, 2, 16)),
      code("vpslld zmm4,zmm21,15", "62b15d4872f50f", a -> a.vpslld(4, 21, 15)),
      code(
          "vpternlogd zmm30,zmm30,zmm30,255", "62030d4025f6ff", a -> a.vpternlogd(30, 30, 30, 255)),
      code("vpminud zmm25,zmm25,zmm3", "626235403bcb", a -> a.vpminud(25, 25, 3)),
      code("vpmaxud zmm26,zmm26,zmm18", "62222d403fd2", a -> a.vpmaxud(26, 26, 18)),
      code("vpcmpltud k4,zmm17,zmm28", "629375401ee401", a -> a.vpcmpltud(4, 17, 28)),
      code("vpbroadcastd zmm28,eax", "62627d487ce0", a -> a.vpbroadcastd(28, RAX)),
      code("vpbroadcastd zmm7,r10d", "62d27d487cfa", a -> a.vpbroadcastd(7, R10)),
      code(
          "vpmovzxwd zmm17{k2}{z},[r10+rcx]",
          "62c27dca330c0a",
          a -> a.vpmovzxwdMasked(17, 2, at(R10, 1, RCX))),
      code(
          "vpmovzxwd zmm3{k1}{z},[r12+64]",
          "62d27dc9335c2402",
          a -> a.vpmovzxwdMasked(3, 1, at(R12, 64))),
      code(
          "vmovdqu16 zmm19{k1}{z},[rdx+128]",
          "62e1ffc96f5a02",
          a -> a.vmovdqu16Masked(19, 1, at(RDX, 128))),
      code("vpunpckldq zmm18,zmm4,zmm21", "62a15d4862d5", a -> a.vpunpckldq(18, 4, 21)),
      code("vpunpckhdq zmm3,zmm24,zmm1", "62f13d406ad9", a -> a.vpunpckhdq(3, 24, 1)),
      code("vpunpcklqdq zmm18,zmm4,zmm21", "62a1dd486cd5", a -> a.vpunpcklqdq(18, 4, 21)),
      code("vpunpckhqdq zmm3,zmm24,zmm1", "62f1bd406dd9", a -> a.vpunpckhqdq(3, 24, 1)),
      code("vcvtne2ps2bf16 zmm3,zmm21,zmm2", "62f2574072da", a -> a.vcvtne2ps2bf16(3, 21, 2)),
      code("vcvtneps2bf16 ymm19,zmm4", "62e27e4872dc", a -> a.vcvtneps2bf16(19, 4)),
      code("vpmovzxwd zmm18,ymm5", "62e27d4833d5", a -> a.vpmovzxwd(18, 5)),
      code("kmovd k1,eax", "c5fb92c8", a -> a.kmovd(1, RAX)),
      code("kmovd k2,r10d", "c4c17b92d2", a -> a.kmovd(2, R10)),
      code("mov eax,0x7f000000", "b80000007f", a -> a.mov(RAX, 0x7F000000)),
      code("mov r11d,0xbffffff", "41bbffffff0b", a -> a.mov(R11, 0xBFFFFFF)),
      code("kmovw k1,eax", "c5f892c8", a -> a.kmovw(1, RAX)),
      code("kmovw k2,r10d", "c4c17892d2", a -> a.kmovw(2, R10)),
      code("kmovw eax,k3", "c5f893c3", a -> a.kmovw(RAX, 3)),
      code("korw k3,k3,k4", "c5e445dc", a -> a.korw(3, 3, 4)),
      code("ldtilecfg [rax]", "c4e2784900", a -> a.ldtilecfg(at(RAX, 0))),
      code("ldtilecfg [r12]", "c4c278490424", a -> a.ldtilecfg(at(R12, 0))),
      code("tilerelease", "c4e27849c0", Assembler::tilerelease),
      code("tilezero tmm3", "c4e27b49d8", a -> a.tilezero(3)),
      code("tileloadd tmm4,[rdx+rax]", "c4e27b4b2402", a -> a.tileloadd(4, at(RDX, 1, RAX))),
      code(
          "tileloadd tmm7,[r11+rax+4096]",
          "c4c27b4bbc0300100000",
          a -> a.tileloadd(7, at(R11, 1, RAX).plus(4096))),
      code(
          "tileloadd tmm1,[r8+r9+64]",
          "c4827b4b4c0840",
          a -> a.tileloadd(1, at(R8, 1, R9).plus(64))),
      code(
          "tilestored [r8+r9+64],tmm3",
          "c4827a4b5c0840",
          a -> a.tilestored(at(R8, 1, R9).plus(64), 3)),
      code("tilestored [r13+r9],tmm0", "c4827a4b440d00", a -> a.tilestored(at(R13, 1, R9), 0)),
      code("tdpbf16ps tmm3,tmm5,tmm6", "c4e24a5cdd", a -> a.tdpbf16ps(3, 5, 6)),
      code("tdpbf16ps tmm0,tmm4,tmm7", "c4e2425cc4", a -> a.tdpbf16ps(0, 4, 7)),
      code("test r10,r10", "4d85d2", a -> a.test(R10)),
      code("sub rcx,rcx", "4829c9", a -> a.sub(RCX, RCX)),
      code("cmp rcx,rsi", "4839f1", a -> a.cmp(RCX, RSI)),
      code("prefetcht1 [rbp+64]", "0f185540", a -> a.prefetcht1(at(RBP, 64))),
      code("cpuid", "0fa2", Assembler::cpuid),
      code("syscall", "0f05", Assembler::syscall),
      code("vzeroupper", "c5f877", Assembler::vzeroupper),
      code("mov rbx,r9", "4c89cb", a -> a.mov(RBX, R9)),
      code("mov r13,[rsp+40]", "4c8b6c2428", a -> a.mov(R13, at(RSP, 40))),
      code("mov [rsp+8],rbp", "48896c2408", a -> a.mov(at(RSP, 8), RBP)),
      code("mov rax,[r12]", "498b0424", a -> a.mov(RAX, at(R12, 0))),
      code("lea rax,[rsi+rdx*2]", "488d0456", a -> a.lea(RAX, at(RSI, 2, RDX))),
      code("lea r11,[r10+rdx*4]", "4d8d1c92", a -> a.lea(R11, at(R10, 4, RDX))),
      code("add r8,r9", "4d01c8", a -> a.add(R8, R9)),
      code("add rdi,40", "4883c728", a -> a.add(RDI, 40)),
      code("sub rdi,42", "4883ef2a", a -> a.sub(RDI, 42)),
      code("shl rbp,4", "48c1e504", a -> a.shl(RBP, 4)),
      code("shl r12,63", "49c1e43f", a -> a.shl(R12, 63)),
      code("push rbx", "53", a -> a.push(RBX)),
      code("push r13", "4155", a -> a.push(R13)),
      code("pop rbp", "5d", a -> a.pop(RBP)),
      code("pop r12", "415c", a -> a.pop(R12)),
      code("prefetcht0 [r8+rbx]", "410f180c18", a -> a.prefetcht0(at(R8, 1, RBX))),
      code("prefetcht0 [r12+64]", "410f184c2440", a -> a.prefetcht0(at(R12, 64))),
      code("prefetcht0 [rsi+rbp]", "0f180c2e", a -> a.prefetcht0(at(RSI, 1, RBP))),
      code("ret", "c3", Assembler::ret),
      code("add rdi,1000", "4881c7e8030000", a -> a.add(RDI, 1000)),
      code(
          "l: ret; jge l; jnz l",
          "c30f8df9ffffff0f85f3ffffff",
          a -> {
            int l = a.here();
            a.ret();
            a.jgeBack(l);
            a.jnzBack(l);
          }),
      code(
          "jl l; jz l; jnz l; ret; l:",
          "0f8c0d0000000f84070000000f8501000000c3",
          a -> {
            int less = a.jlForward();
            int zero = a.jzForward();
            int other = a.jnzForward();
            a.ret();
            a.land(other);
            a.land(less);
            a.land(zero);
          }),
    };
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("instructions")
  void encodesAsTheGnuAssembler(String text, String bytes, Consumer<Assembler> instruction) {
    var assembler = new Assembler();
    instruction.accept(assembler);
    assertEquals(bytes, HexFormat.of().formatHex(assembler.code()), text);
  }
}
