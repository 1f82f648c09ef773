// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor;

import io.sfumato.tensor.cpu.Memory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Objects;

/**
 * The random numbers of PyTorch's CPU generator, so that an image made there from a seed can be
 * made here. It is sequential: for numbers that do not depend on how work is divided use {@link
 * Philox}.
 *
 * <p>The engine is MT19937 (Matsumoto and Nishimura 1998). As in PyTorch, only the low 32 bits of a
 * seed reach it. The distributions:
 *
 * <ul>
 *   <li>uniform: the low 24 bits of one word (float32), the low 53 bits of two words, the first one
 *       high (float64), times 2<sup>-24</sup> or 2<sup>-53</sup>;
 *   <li>integers: one word modulo the range, two words from a range of 2<sup>28</sup> on;
 *   <li>normal, fewer than 16 numbers: Box-Muller in float64, pair by pair; the second number of a
 *       pair waits for the next such call, also across float32 and float64, and survives calls of
 *       other functions;
 *   <li>normal, 16 and more: uniform numbers for the whole result, then Box-Muller on each block of
 *       16 (element j with j + 8); if the length is no multiple of 16, the last 16 numbers are
 *       drawn afresh;
 *   <li>permutation: Fisher-Yates from the front, one word for each place but the last.
 * </ul>
 *
 * <p>Agreement with PyTorch 2.13: uniform numbers, integers, permutations and the state are equal
 * bit for bit, and so are float32 normals, by the arithmetic PyTorch uses on processors with AVX2
 * or AVX-512 (without them, PyTorch's own float32 normals of 16 and more elements differ in the
 * last bits). Float64 normals may differ by up to 2 units in the last place, because PyTorch calls
 * the C library there and this class calls {@link StrictMath}. Not covered: {@code bernoulli} and
 * dropout, for which PyTorch uses a vendor library's generator, and half-precision normals, which
 * PyTorch draws in another order.
 *
 * <p>Not safe for use by several threads at once.
 */
public final class TorchGenerator {
  /** The length of {@link #state()} in bytes. */
  public static final int STATE_BYTES = 5056;

  private static final int WORDS = 624;
  private static final int SHIFT = 397;
  private static final int BLOCK = 16;
  private static final int STATE_OFFSET = 24;
  private static final int CACHE_OFFSET = STATE_OFFSET + 8 * WORDS + 8; // after the unused normal_x
  private static final int CACHE_VALID_OFFSET = CACHE_OFFSET + 16;

  private final int[] words = new int[WORDS];
  private int next;
  private boolean fresh; // nothing drawn since seeding: PyTorch's state says so
  private long seed;
  private boolean cached;
  private double cachedNormal;

  /**
   * A generator seeded like {@code torch.manual_seed(seed)}; a negative seed counts as unsigned.
   */
  public TorchGenerator(long seed) {
    seed(seed);
  }

  /** Seeds anew, as {@code torch.manual_seed} does; a waiting normal number is dropped. */
  public void seed(long seed) {
    this.seed = seed;
    words[0] = (int) seed;
    for (int i = 1; i < WORDS; i++) {
      words[i] = 1812433253 * (words[i - 1] ^ (words[i - 1] >>> 30)) + i;
    }
    next = WORDS;
    fresh = true;
    cached = false;
  }

  /** The seed given last, all 64 bits of it. */
  public long initialSeed() {
    return seed;
  }

  /** The next 32 random bits of the engine. */
  public int nextWord() {
    if (next == WORDS) {
      regenerate();
    }
    int y = words[next++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return y ^ (y >>> 18);
  }

  /** The next 64 random bits: two words, the first one high. */
  public long nextLong() {
    long high = nextWord();
    return (high << 32) | (nextWord() & 0xffffffffL);
  }

  /** The next uniform number in [0, 1) with 24 bits. */
  public float nextUniform() {
    return (nextWord() & 0xffffff) * 0x1p-24f;
  }

  /** The next uniform number in [0, 1) with 53 bits. */
  public double nextUniformF64() {
    return (nextLong() & ((1L << 53) - 1)) * 0x1p-53;
  }

  /** {@code torch.rand(n)}: float32, uniform in [0, 1). */
  public float[] rand(int n) {
    return floats(n, address -> fillUniform(address, n, 0f, 1f));
  }

  /** {@code torch.rand(n, dtype=torch.float64)}: uniform in [0, 1). */
  public double[] randF64(int n) {
    return doubles(n, address -> fillUniformF64(address, n, 0, 1));
  }

  /** {@code torch.randn(n)}: float32, standard normal. */
  public float[] randn(int n) {
    return floats(n, address -> fillNormal(address, n, 0f, 1f));
  }

  /** {@code torch.randn(n, dtype=torch.float64)}: standard normal. */
  public double[] randnF64(int n) {
    return doubles(n, address -> fillNormalF64(address, n, 0, 1));
  }

  /**
   * {@code torch.randint(low, high, (n,))}: uniform integers in [low, high), up to the slight bias
   * of a modulus.
   *
   * @throws IllegalArgumentException if {@code low >= high}
   */
  public long[] randint(long low, long high, int n) {
    requireLength(n);
    requireRange(low, high);
    long[] out = new long[n];
    for (int i = 0; i < n; i++) {
      out[i] = nextInteger(low, high);
    }
    return out;
  }

  /** {@code torch.randperm(n)}: a random permutation of 0 to n - 1. */
  public long[] randperm(int n) {
    requireLength(n);
    long[] out = new long[n];
    for (int i = 0; i < n; i++) {
      out[i] = i;
    }
    for (int i = 0; i < n - 1; i++) {
      int other = i + Integer.remainderUnsigned(nextWord(), n - i);
      long kept = out[i];
      out[i] = out[other];
      out[other] = kept;
    }
    return out;
  }

  /**
   * {@code tensor.uniform_(low, high)} on {@code count} contiguous float32 numbers at {@code
   * address}.
   *
   * @throws IllegalArgumentException if {@code count < 0} or {@code low > high}
   */
  public void fillUniform(long address, long count, float low, float high) {
    requireLength(count);
    requireOrdered(low, high);
    float range = high - low;
    for (long i = 0; i < count; i++) {
      float value = Math.fma(nextUniform(), range, low);
      Memory.putFloat(address + 4 * i, value == high ? low : value);
    }
  }

  /**
   * {@code tensor.uniform_(low, high)} on {@code count} contiguous float64 numbers at {@code
   * address}.
   *
   * @throws IllegalArgumentException if {@code count < 0} or {@code low > high}
   */
  public void fillUniformF64(long address, long count, double low, double high) {
    requireLength(count);
    requireOrdered(low, high);
    double range = high - low;
    for (long i = 0; i < count; i++) {
      double value = Math.fma(nextUniformF64(), range, low);
      Memory.putDouble(address + 8 * i, value == high ? low : value);
    }
  }

  /**
   * {@code tensor.random_(low, high)} on {@code count} contiguous 64-bit integers at {@code
   * address}.
   *
   * @throws IllegalArgumentException if {@code count < 0} or {@code low >= high}
   */
  public void fillIntegers(long address, long count, long low, long high) {
    requireLength(count);
    requireRange(low, high);
    for (long i = 0; i < count; i++) {
      Memory.putLong(address + 8 * i, nextInteger(low, high));
    }
  }

  /**
   * {@code tensor.normal_(mean, deviation)} on {@code count} contiguous float32 numbers at {@code
   * address}.
   *
   * @throws IllegalArgumentException if {@code count < 0} or {@code deviation < 0}
   */
  public void fillNormal(long address, long count, float mean, float deviation) {
    requireLength(count);
    requireDeviation(deviation);
    if (count < BLOCK) {
      for (long i = 0; i < count; i++) {
        Memory.putFloat(address + 4 * i, (float) nextNormal(mean, deviation));
      }
      return;
    }
    float[] uniform = new float[BLOCK];
    for (long i = 0; i <= count - BLOCK; i += BLOCK) {
      normalBlock(uniform, address + 4 * i, mean, deviation);
    }
    if (count % BLOCK != 0) {
      skipWords(count % BLOCK);
      normalBlock(uniform, address + 4 * (count - BLOCK), mean, deviation);
    }
  }

  /**
   * {@code tensor.normal_(mean, deviation)} on {@code count} contiguous float64 numbers at {@code
   * address}.
   *
   * @throws IllegalArgumentException if {@code count < 0} or {@code deviation < 0}
   */
  public void fillNormalF64(long address, long count, double mean, double deviation) {
    requireLength(count);
    requireDeviation(deviation);
    if (count < BLOCK) {
      for (long i = 0; i < count; i++) {
        Memory.putDouble(address + 8 * i, nextNormal(mean, deviation));
      }
      return;
    }
    double[] uniform = new double[BLOCK];
    for (long i = 0; i <= count - BLOCK; i += BLOCK) {
      normalBlockF64(uniform, address + 8 * i, mean, deviation);
    }
    if (count % BLOCK != 0) {
      skipWords(2 * (count % BLOCK));
      normalBlockF64(uniform, address + 8 * (count - BLOCK), mean, deviation);
    }
  }

  /** The state, in the bytes of {@code torch.get_rng_state()}. */
  public byte[] state() {
    ByteBuffer buffer = ByteBuffer.allocate(STATE_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    buffer.putLong(seed).putInt(fresh ? 1 : WORDS + 1 - next).putInt(1).putLong(fresh ? 0 : next);
    for (int word : words) {
      buffer.putLong(word & 0xffffffffL);
    }
    if (cached) {
      buffer.putDouble(CACHE_OFFSET, cachedNormal).putInt(CACHE_VALID_OFFSET, 1);
    }
    return buffer.array();
  }

  /**
   * Continues from a state, made by {@link #state()} or by {@code torch.get_rng_state()}.
   *
   * @throws IllegalArgumentException if {@code state} has another length or no engine in it
   */
  public void setState(byte[] state) {
    Objects.requireNonNull(state, "state");
    if (state.length != STATE_BYTES) {
      throw new IllegalArgumentException(
          "TorchGenerator.setState: a state has " + STATE_BYTES + " bytes; got " + state.length);
    }
    ByteBuffer buffer = ByteBuffer.wrap(state).order(ByteOrder.LITTLE_ENDIAN);
    long newSeed = buffer.getLong();
    int left = buffer.getInt();
    int seeded = buffer.getInt();
    long position = buffer.getLong();
    if (seeded == 0 || left < 1 || left > WORDS || position < 0 || position > WORDS) {
      throw new IllegalArgumentException(
          "TorchGenerator.setState: not the state of an engine: seeded %d, left %d, next %d"
              .formatted(seeded, left, position));
    }
    seed = newSeed;
    fresh = position == 0;
    next = left == 1 ? WORDS : (int) position;
    for (int i = 0; i < WORDS; i++) {
      words[i] = (int) buffer.getLong();
    }
    cached = buffer.getInt(CACHE_VALID_OFFSET) != 0;
    cachedNormal = buffer.getDouble(CACHE_OFFSET);
  }

  private void regenerate() {
    for (int i = 0; i < WORDS; i++) {
      int mixed = (words[i] & 0x80000000) | (words[(i + 1) % WORDS] & 0x7fffffff);
      int twisted = (mixed >>> 1) ^ (-(mixed & 1) & 0x9908b0df);
      words[i] = words[(i + SHIFT) % WORDS] ^ twisted;
    }
    next = 0;
    fresh = false;
  }

  private void skipWords(long count) {
    for (long i = 0; i < count; i++) {
      nextWord();
    }
  }

  private long nextInteger(long low, long high) {
    long range = high - low; // unsigned
    long word = Long.compareUnsigned(range, 1L << 28) >= 0 ? nextLong() : nextWord() & 0xffffffffL;
    return Long.remainderUnsigned(word, range) + low;
  }

  private double nextNormal(double mean, double deviation) {
    double value;
    if (cached) {
      cached = false;
      value = cachedNormal;
    } else {
      double u1 = nextUniformF64();
      double u2 = nextUniformF64();
      double radius = Math.sqrt(-2 * StrictMath.log1p(-u2));
      double angle = BoxMuller.TWO_PI * u1;
      cachedNormal = radius * StrictMath.sin(angle);
      cached = true;
      value = radius * StrictMath.cos(angle);
    }
    return value * deviation + mean;
  }

  private void normalBlock(float[] uniform, long address, float mean, float deviation) {
    for (int j = 0; j < BLOCK; j++) {
      uniform[j] = nextUniform();
    }
    for (int j = 0; j < BLOCK / 2; j++) {
      float radius = (float) Math.sqrt(-2f * BoxMuller.log(1f - uniform[j]));
      float angle = (float) BoxMuller.TWO_PI * uniform[j + 8];
      // Cody-Waite reduction by multiples of pi / 2, with pi / 4 in three parts
      int eighths = ((int) (angle * 1.27323954473516f) + 1) & ~1;
      float rest = Math.fma((float) eighths, -0.78515625f, angle);
      rest = Math.fma((float) eighths, -2.4187564849853515625e-4f, rest);
      rest = Math.fma((float) eighths, -3.77489497744594108e-8f, rest);
      int quarter = eighths >> 1 & 3;
      float sin = BoxMuller.sin(rest);
      float cos = BoxMuller.cos(rest);
      float first = radius * BoxMuller.turnedCos(sin, cos, quarter);
      float second = radius * BoxMuller.turnedSin(sin, cos, quarter);
      Memory.putFloat(address + 4L * j, Math.fma(first, deviation, mean));
      Memory.putFloat(address + 4L * (j + 8), Math.fma(second, deviation, mean));
    }
  }

  private void normalBlockF64(double[] uniform, long address, double mean, double deviation) {
    for (int j = 0; j < BLOCK; j++) {
      uniform[j] = nextUniformF64();
    }
    for (int j = 0; j < BLOCK / 2; j++) {
      double radius = Math.sqrt(-2 * StrictMath.log(1 - uniform[j]));
      double angle = BoxMuller.TWO_PI * uniform[j + 8];
      double first = radius * StrictMath.cos(angle);
      double second = radius * StrictMath.sin(angle);
      Memory.putDouble(address + 8L * j, Math.fma(first, deviation, mean));
      Memory.putDouble(address + 8L * (j + 8), Math.fma(second, deviation, mean));
    }
  }

  @FunctionalInterface
  private interface Filler {
    void fill(long address);
  }

  private static float[] floats(int n, Filler filler) {
    requireLength(n);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment segment = arena.allocate(4L * n + 8, 8);
      filler.fill(segment.address());
      return segment.asSlice(0, 4L * n).toArray(ValueLayout.JAVA_FLOAT);
    }
  }

  private static double[] doubles(int n, Filler filler) {
    requireLength(n);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment segment = arena.allocate(8L * n + 8, 8);
      filler.fill(segment.address());
      return segment.asSlice(0, 8L * n).toArray(ValueLayout.JAVA_DOUBLE);
    }
  }

  private static void requireLength(long n) {
    if (n < 0) {
      throw new IllegalArgumentException("TorchGenerator: a count must not be negative; got " + n);
    }
  }

  private static void requireRange(long low, long high) {
    if (low >= high) {
      throw new IllegalArgumentException(
          "TorchGenerator: integers need low < high; got " + low + " and " + high);
    }
  }

  private static void requireOrdered(double low, double high) {
    if (!(low <= high)) {
      throw new IllegalArgumentException(
          "TorchGenerator: uniform numbers need low <= high; got " + low + " and " + high);
    }
  }

  private static void requireDeviation(double deviation) {
    if (!(deviation >= 0)) {
      throw new IllegalArgumentException(
          "TorchGenerator: a standard deviation must not be negative; got " + deviation);
    }
  }
}
