// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu.simd;

import static io.sfumato.tensor.cpu.Memory.ALL;
import static io.sfumato.tensor.cpu.Memory.at;

import io.sfumato.tensor.cpu.Memory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorSpecies;

/**
 * Loads and stores of float vectors. These methods are a few bytecodes long, so that the compiler
 * always inlines them; anything longer that takes or returns a vector is written out in its loop,
 * for a vector that crosses a real call is boxed, which is ten times slower.
 */
final class Lanes {
  static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
  static final VectorSpecies<Double> D = DoubleVector.SPECIES_PREFERRED;
  static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
  static final ByteOrder ORDER = ByteOrder.nativeOrder();
  static final int N = F.length();

  private static final int PAD_SLOTS = 8;

  /** Floats per temporary block; a multiple of every vector length that stays in the L1 cache. */
  static final int BLOCK = 1024;

  private static final ThreadLocal<MemorySegment> PADS =
      ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(PAD_SLOTS * 64L + 8L * BLOCK, 64));

  /** Floats per slot of {@link #sums}: the longest vector. */
  static final int SLOT = 16;

  private static final int SUM_SLOTS = 8;

  private static final ThreadLocal<float[]> SUMS =
      ThreadLocal.withInitial(() -> new float[(SUM_SLOTS + 1) * SLOT]);

  /** Not final, so that the compiler does not know it. */
  private static int step = N;

  private Lanes() {}

  /**
   * {@link #N}, for the step of a loop over a row that comes from memory. With a step that it knows
   * the compiler unrolls the loop, and to do so cuts it into three: each of them reads a part of
   * every row, and the processor, which fetches ahead along what one instruction reads, begins anew
   * with each row. With this one the loop stays whole, and each of its loads goes through all rows
   * at an even pace. A loop over what the cache holds is better unrolled.
   */
  static int step() {
    return step;
  }

  static FloatVector load(long address) {
    return FloatVector.fromMemorySegment(F, ALL, address, ORDER);
  }

  /**
   * The vector {@code offset} bytes behind {@code base}. In a loop, what does not change belongs
   * into the base: the compiler then takes it out of the loop, and reads at {@code base + offset}
   * without a check.
   */
  static FloatVector load(long base, long offset) {
    return FloatVector.fromMemorySegment(F, ALL, at(base, offset), ORDER);
  }

  static FloatVector load(long address, VectorMask<Float> m) {
    return FloatVector.fromMemorySegment(F, ALL, address, ORDER, m);
  }

  static FloatVector load(long base, long offset, VectorMask<Float> m) {
    return FloatVector.fromMemorySegment(F, ALL, at(base, offset), ORDER, m);
  }

  static void store(FloatVector v, long address) {
    v.intoMemorySegment(ALL, address, ORDER);
  }

  /** Stores at {@code base + offset}, as {@link #load(long, long)} reads. */
  static void store(FloatVector v, long base, long offset) {
    v.intoMemorySegment(ALL, at(base, offset), ORDER);
  }

  static void store(FloatVector v, long address, VectorMask<Float> m) {
    v.intoMemorySegment(ALL, address, ORDER, m);
  }

  static void store(FloatVector v, long base, long offset, VectorMask<Float> m) {
    v.intoMemorySegment(ALL, at(base, offset), ORDER, m);
  }

  static FloatVector all(float value) {
    return FloatVector.broadcast(F, value);
  }

  /** The part of {@code n} that whole vectors cover. */
  static int whole(int n) {
    return n & -N;
  }

  /** The mask of the first {@code rest} lanes. */
  static VectorMask<Float> first(int rest) {
    return F.indexInRange(0, rest);
  }

  /**
   * Address of {@value #PAD_SLOTS} slots of one vector each, owned by the calling thread: loops
   * over whole vectors run once more on a padded copy of what remains.
   */
  static long pads() {
    return PADS.get().address();
  }

  /** The last of the {@link #pads}, for use within one statement sequence of this package. */
  static long lastPad() {
    return pads() + (PAD_SLOTS - 1) * 64L;
  }

  /** Address of {@link #BLOCK} floats that the loops of {@link UnaryVectors} use. */
  static long block() {
    return pads() + PAD_SLOTS * 64L;
  }

  /** Address of {@link #BLOCK} floats for callers of those loops. */
  static long outerBlock() {
    return block() + 4L * BLOCK;
  }

  /** Copies the {@code n} floats that are left over after the whole vectors. */
  static void copyRest(long from, long to, int n) {
    for (int i = 0; i < n; i++) {
      Memory.putFloat(to + i * 4L, Memory.getFloat(from + i * 4L));
    }
  }

  /**
   * Space for sums, {@value #SUM_SLOTS} slots of {@link #SLOT} floats, owned by the calling thread.
   * On the Java heap, where reading a float costs the compiler a few nodes; an access to native
   * memory costs it fifty, and its budget for a method ends when many sums are inlined.
   */
  static float[] sums() {
    return SUMS.get();
  }

  /**
   * The sum of all lanes in double, always in the same order ({@code reduceLanes} promises none).
   */
  static double sum(FloatVector v) {
    float[] sums = sums();
    v.intoArray(sums, SUM_SLOTS * SLOT);
    return sum(sums, SUM_SLOTS * SLOT);
  }

  /**
   * The sum of a vector in a slot: four parts in f32, they in double. Plain floats, for a caller
   * that has compiled much already boxes vectors here.
   */
  static double sum(float[] v, int slot) {
    float s0 = v[slot];
    float s1 = v[slot + 1];
    float s2 = v[slot + 2];
    float s3 = v[slot + 3];
    for (int i = slot + 4; i < slot + N; i += 4) {
      s0 += v[i];
      s1 += v[i + 1];
      s2 += v[i + 2];
      s3 += v[i + 3];
    }
    return ((double) s0 + s1) + ((double) s2 + s3);
  }
}
