// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.machine;

import static io.sfumato.tensor.cpu.machine.Assembler.Address.at;
import static io.sfumato.tensor.cpu.machine.Assembler.Register.RAX;

import io.sfumato.tensor.cpu.machine.Assembler.Register;

/**
 * A function that goes over operands vector by vector, the last one being partial: what is done
 * with a vector is written once, in terms of {@link #load}, {@link #store} and {@link #subtract}.
 */
abstract class PassCode {
  private static final int LANES = 1; // the mask of the lanes of the partial vector

  final Assembler asm = new Assembler();
  private boolean partial;

  /**
   * Writes a loop over whole vectors, at {@code RAX} bytes, and then what is done with a partial
   * one.
   *
   * @param whole holds the bytes of the whole vectors, 0 for none
   * @param rest holds a bit for each lane of the partial vector, 0 for none
   * @param vector writes what is done with a vector
   */
  final void forVectors(Register whole, Register rest, Runnable vector) {
    asm.sub(RAX, RAX);
    asm.test(whole);
    int none = asm.jzForward();
    int next = asm.here();
    vector.run();
    asm.add(RAX, Encoder.VECTOR_BYTES);
    asm.cmp(RAX, whole);
    asm.jnzBack(next);
    asm.land(none);
    asm.test(rest);
    int even = asm.jzForward();
    asm.kmovw(LANES, rest);
    partial = true;
    vector.run();
    partial = false;
    asm.land(even);
  }

  /** Whether the vector that is being written is the partial one. */
  final boolean isPartial() {
    return partial;
  }

  /** The operand's vector; 0 in lanes that it does not have. */
  final void load(int to, Register operand) {
    if (partial) {
      asm.vmovupsMasked(to, LANES, at(operand, 1, RAX));
    } else {
      asm.vmovups(to, at(operand, 1, RAX));
    }
  }

  final void store(Register operand, int from) {
    if (partial) {
      asm.vmovupsMasked(at(operand, 1, RAX), LANES, from);
    } else {
      asm.vmovups(at(operand, 1, RAX), from);
    }
  }

  /** {@code x - y}; 0 in lanes that the operands do not have. */
  final void subtract(int to, int x, int y) {
    if (partial) {
      asm.vsubpsMasked(to, LANES, x, y);
    } else {
      asm.vsubps(to, x, y);
    }
  }
}
