// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.machine;

/**
 * Encodes the instructions of x86-64 that the loops of this package are made of; those on vectors
 * stand in {@link VectorAssembler}. Each method is one instruction and bears its name; operands
 * come in the order of Intel's manuals, the destination first.
 *
 * <p>Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, chapters 2.1
 * (ModRM, SIB), 2.3 (VEX), 2.7 (EVEX, compressed displacement), 3 (AMX).
 */
final class Assembler extends VectorAssembler {
  /** Integer registers, in the order of their numbers. */
  enum Register {
    RAX,
    RCX,
    RDX,
    RBX,
    RSP,
    RBP,
    RSI,
    RDI,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15
  }

  /**
   * An operand in memory, {@code [base + times * index + displacement]}.
   *
   * @param base a register
   * @param index another one, not the stack pointer; ignored if {@code times} is 0
   * @param times 0 for no index, 1, 2, 4 or 8
   * @param displacement bytes
   */
  record Address(Register base, Register index, int times, int displacement) {
    static Address at(Register base, int displacement) {
      return new Address(base, base, 0, displacement);
    }

    static Address at(Register base, int times, Register index) {
      return new Address(base, index, times, 0);
    }

    /** The high bit of the index's number. */
    int indexHigh() {
      return times == 0 ? 0 : index.ordinal() >> 3;
    }

    Address plus(int bytes) {
      return new Address(base, index, times, displacement + bytes);
    }
  }

  // Tiles of 16 rows of 64 bytes, tmm0 to tmm7.

  void ldtilecfg(Address from) {
    vex(NO_PREFIX, MAP_0F38, 0x49, 0, 0, from);
  }

  void tilerelease() {
    vex(NO_PREFIX, MAP_0F38, 0x49, 0, 0, 0);
  }

  void tilezero(int to) {
    vex(PREFIX_F2, MAP_0F38, 0x49, to, 0, 0);
  }

  /** Rows as far apart as the index of the address says. */
  void tileloadd(int to, Address from) {
    vex(PREFIX_F2, MAP_0F38, 0x4B, to, 0, from);
  }

  /** Rows as far apart as the index of the address says. */
  void tilestored(Address to, int from) {
    vex(PREFIX_F3, MAP_0F38, 0x4B, from, 0, to);
  }

  /** {@code sum[m, n] += x[m, 2 k] y[k, 2 n] + x[m, 2 k + 1] y[k, 2 n + 1]} of bfloat16. */
  void tdpbf16ps(int sum, int x, int y) {
    vex(PREFIX_F3, MAP_0F38, 0x5C, sum, y, x);
  }

  // Integers of 64 bits.

  void mov(Register to, Register from) {
    integer(0x89, from, to);
  }

  void mov(Register to, Address from) {
    integer(0x8B, to, from);
  }

  void mov(Address to, Register from) {
    integer(0x89, from, to);
  }

  /** The lower half; the upper half becomes zero. */
  void mov(Register to, int x) {
    if (to.ordinal() >= 8) {
      emit(0x41);
    }
    emit(0xB8 | to.ordinal() & 7);
    int32(x);
  }

  void lea(Register to, Address from) {
    integer(0x8D, to, from);
  }

  void add(Register to, Register x) {
    integer(0x01, x, to);
  }

  void add(Register to, int x) {
    immediate(0, to, x);
  }

  /** Compares, for a jump. */
  void cmp(Register x, Register y) {
    integer(0x39, y, x);
  }

  /** Compares with zero, for a jump. */
  void test(Register x) {
    integer(0x85, x, x);
  }

  void sub(Register to, Register x) {
    integer(0x29, x, to);
  }

  void sub(Register to, int x) {
    immediate(5, to, x);
  }

  void shl(Register to, int bits) {
    emit(0x48 | to.ordinal() >> 3, 0xC1, 0xE0 | to.ordinal() & 7, bits);
  }

  void push(Register from) {
    stack(0x50, from);
  }

  void pop(Register to) {
    stack(0x58, to);
  }

  /** Asks for the cache line at an address, which need not be one that can be read. */
  void prefetcht0(Address at) {
    prefetch(1, at);
  }

  /** Likewise, for the L2 cache. */
  void prefetcht1(Address at) {
    prefetch(2, at);
  }

  private void prefetch(int level, Address at) {
    rex(0, at, false);
    emit(0x0F, 0x18);
    memory(level, at, 1);
  }

  /** What the processor can do: by EAX and ECX to EAX, EBX, ECX and EDX. */
  void cpuid() {
    emit(0x0F, 0xA2);
  }

  /** Calls the system; changes RCX and R11. */
  void syscall() {
    emit(0x0F, 0x05);
  }

  /** Saves registers on the stack; {@link #leave} restores them. */
  void enter(Register... saved) {
    for (Register register : saved) {
      push(register);
    }
  }

  /** Restores registers that {@link #enter} saved, and returns. */
  void leave(Register... saved) {
    for (int i = saved.length - 1; i >= 0; i--) {
      pop(saved[i]);
    }
    ret();
  }

  void ret() {
    emit(0xC3);
  }

  // Jumps; forward ones are completed by land().

  /** Jumps back if the last result was zero or more. */
  void jgeBack(int target) {
    back(0x8D, target);
  }

  /** Jumps back if the last result was not zero. */
  void jnzBack(int target) {
    back(0x85, target);
  }

  /** Jumps forward if the last result was less than zero; the answer goes to {@link #land}. */
  int jlForward() {
    return forward(0x8C);
  }

  /** Jumps forward if the last result was zero; the answer goes to {@link #land}. */
  int jzForward() {
    return forward(0x84);
  }

  /** Jumps forward if the last result was not zero; the answer goes to {@link #land}. */
  int jnzForward() {
    return forward(0x85);
  }

  /** Jumps forward; the answer goes to {@link #land}. */
  int jmpForward() {
    emit(0xE9);
    int at = here();
    int32(0);
    return at;
  }
}
