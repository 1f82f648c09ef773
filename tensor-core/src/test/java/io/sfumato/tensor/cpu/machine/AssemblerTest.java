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
      code("vzeroupper", "c5f877", Assembler::vzeroupper),
      code("mov rbx,r9", "4c89cb", a -> a.mov(RBX, R9)),
      code("mov r13,[rsp+40]", "4c8b6c2428", a -> a.mov(R13, at(RSP, 40))),
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
          "jl l; jz l; ret; l:",
          "0f8c070000000f8401000000c3",
          a -> {
            int less = a.jlForward();
            int zero = a.jzForward();
            a.ret();
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
