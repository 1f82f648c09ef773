// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.cpu;

import java.lang.System.Logger.Level;
import org.jspecify.annotations.Nullable;

/**
 * Chooses the innermost loops of the CPU backend: those over the Vector API when the module {@code
 * jdk.incubator.vector} is present, else plain Java ones, said once in the log.
 *
 * <p>The system property {@code sfumato.simd} forces the choice: {@code on} fails without the
 * module, and takes vectors also where they are slow (no C2 compiler, or an x86 processor without
 * AVX2); {@code off} takes plain Java without a word.
 */
public final class Simd {
  private static final String PROPERTY = "sfumato.simd";
  private static final String MODULE = "jdk.incubator.vector";
  private static final String VECTOR_PROVIDER = "io.sfumato.tensor.cpu.simd.VectorProvider";

  private Simd() {}

  private static final class Holder {
    static final SimdProvider PROVIDER = choose(System.getProperty(PROPERTY));
  }

  /**
   * The loops in use, the same for the life of the process.
   *
   * @throws IllegalStateException if {@code sfumato.simd} is {@code on} and the Vector API is
   *     missing
   * @throws IllegalArgumentException if {@code sfumato.simd} is neither {@code on} nor {@code off}
   */
  public static SimdProvider provider() {
    return Holder.PROVIDER;
  }

  /** The plain Java loops, for comparison with the vector ones. */
  public static SimdProvider scalar() {
    return new ScalarProvider();
  }

  static SimdProvider choose(@Nullable String setting) {
    if (Setting.isOff(PROPERTY, setting)) {
      return scalar();
    }
    boolean forced = setting != null;
    @Nullable String obstacle = obstacle(forced);
    if (obstacle == null) {
      try {
        SimdProvider vectors =
            (SimdProvider) Class.forName(VECTOR_PROVIDER).getDeclaredConstructor().newInstance();
        obstacle = forced ? null : vectors.obstacle();
        if (obstacle == null) {
          return vectors;
        }
      } catch (ReflectiveOperationException | LinkageError e) {
        if (e.getCause() instanceof IllegalArgumentException wrong) { // a system property
          throw wrong;
        }
        obstacle = "its loops did not load: " + (e.getCause() == null ? e : e.getCause());
      }
    }
    String message =
        "the Vector API is not used, CPU loops run 10 to 50 times slower: "
            + obstacle
            + " (-D"
            + PROPERTY
            + "=off silences this)";
    if (forced) {
      throw new IllegalStateException(message);
    }
    System.getLogger(Simd.class.getName()).log(Level.WARNING, message);
    return scalar();
  }

  /** Why the vector loops cannot or should not run, or null. */
  private static @Nullable String obstacle(boolean forced) {
    if (ModuleLayer.boot().findModule(MODULE).isEmpty()) {
      return "module " + MODULE + " is missing; start java with --add-modules " + MODULE;
    }
    if (forced) {
      return null;
    }
    String mode = System.getProperty("java.vm.info", "");
    if (mode.startsWith("interpreted") || mode.contains("emulated-client")) {
      return "the JVM runs without its C2 compiler (" + mode + "); start java without such options";
    }
    return null;
  }
}
