// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.CudaException;
import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.library.DiskCache;
import io.sfumato.cuda.library.LibrarySearch;
import io.sfumato.cuda.library.MissingLibraryException;
import io.sfumato.cuda.library.Nvrtc;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.DeviceException;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * Attention kernels for heads of exactly the width at hand, where the jar has none and NVIDIA's
 * run-time compiler is found: compiled for this device when they are first asked for, and kept on
 * disk. Where anything fails, the kernels of the jar compute with padded heads, and one line of the
 * log says why.
 */
final class AttentionVariants {
  /** The system property that forbids to compile kernels, by {@code false}. */
  static final String PROPERTY = "sfumato.cuda.nvrtc";

  private static final Logger LOG = System.getLogger(AttentionVariants.class.getName());
  private static final Map<Gpu, AttentionVariants> OF_DEVICE = new ConcurrentHashMap<>();
  private static final int CUDA_13 = 13000;
  private static final int WIDEST = 256;

  private final Gpu gpu;
  private final DiskCache cache;
  private final Supplier<@Nullable Nvrtc> compiler;
  private final Map<String, Boolean> known = new ConcurrentHashMap<>();
  private boolean asked;
  private @Nullable Nvrtc found;

  /**
   * The variants of a device.
   *
   * @param compiler the compiler, or null if there is none; asked once
   */
  AttentionVariants(Gpu gpu, DiskCache cache, Supplier<@Nullable Nvrtc> compiler) {
    this.gpu = gpu;
    this.cache = cache;
    this.compiler = compiler;
  }

  /** Those of a device of this machine. */
  static AttentionVariants of(Gpu gpu) {
    return OF_DEVICE.computeIfAbsent(
        gpu, g -> new AttentionVariants(g, DiskCache.ofThisUser("kernels"), () -> find(g)));
  }

  /** Uses other variants on a device, for tests; null for those of this machine. */
  static void use(Gpu gpu, @Nullable AttentionVariants variants) {
    if (variants == null) {
      OF_DEVICE.remove(gpu);
    } else {
      OF_DEVICE.put(gpu, variants);
    }
  }

  private static @Nullable Nvrtc find(Gpu gpu) {
    String why = "-D" + PROPERTY + "=false";
    if (!System.getProperty(PROPERTY, "true").equals("false")) {
      try {
        Nvrtc nvrtc = Nvrtc.open(LibrarySearch.ofThisMachine(), Gpu.driverVersion() >= CUDA_13);
        LOG.log(Level.INFO, "{0}: kernels may be compiled by {1}", gpu.device(), nvrtc.name());
        return nvrtc;
      } catch (MissingLibraryException e) {
        why = String.valueOf(e.getMessage());
      }
    }
    LOG.log(
        Level.INFO,
        "{0}: no kernels are compiled for exact sizes of heads, because {1}; those of the jar"
            + " serve",
        gpu.device(),
        why);
    return null;
  }

  /** What a kernel computes. */
  enum Direction {
    /** The attention. */
    FORWARD,
    /** The gradients. */
    BACKWARD;

    private final String text = name().toLowerCase(Locale.ROOT);

    /** The headers that it is made of, the one with its macro first. */
    private List<String> files() {
      return switch (this) {
        case FORWARD -> List.of("attention_forward.cuh", "attention.cuh", "dev.h", "ptx.h");
        case BACKWARD ->
            List.of(
                "attention_backward.cuh", "attention_rows.cuh", "attention.cuh", "dev.h", "ptx.h");
      };
    }

    /** Their texts, which the jar has, by name. */
    Map<String, String> headers() {
      Map<String, String> read = new LinkedHashMap<>();
      for (String name : files()) {
        read.put(name, header(name));
      }
      return read;
    }
  }

  /**
   * A kernel for heads of this width.
   *
   * @param threads of a block
   * @param rows queries (forward) or keys (backward) of a block
   * @param step keys (forward) or queries (backward) of a step
   * @param parts blocks that share the columns
   * @param blocks blocks that a multiprocessor must hold
   */
  record Variant(
      Direction direction,
      DType dtype,
      int width,
      int threads,
      int rows,
      int step,
      int parts,
      int blocks) {
    /** The attention's variant for a width, or null if none suits it. */
    static @Nullable Variant forward(DType dtype, int width) {
      if (width % 8 != 0 || width < 8 || width >= WIDEST) {
        return null;
      }
      boolean f32 = dtype == DType.F32;
      int keys = f32 || width > 128 ? 32 : 64;
      int blocks = width <= 80 ? 3 : f32 && width > 160 ? 1 : 2;
      return new Variant(Direction.FORWARD, dtype, width, 128, 64, keys, 1, blocks);
    }

    /** The gradients' variant for a width, or null if none suits it. */
    static @Nullable Variant backward(DType dtype, int width) {
      boolean f32 = dtype == DType.F32;
      boolean halved = width > (f32 ? 128 : 160); // the sums of all columns need more registers
      if (width % (halved ? 16 : 8) != 0 || width < 8 || width >= WIDEST) {
        return null;
      }
      int parts = halved ? 2 : 1;
      if (f32) {
        int blocks = halved ? 1 : width <= 64 ? 3 : 2;
        return new Variant(Direction.BACKWARD, dtype, width, 128, 64, 16, parts, blocks);
      }
      return width <= 56
          ? new Variant(Direction.BACKWARD, dtype, width, 128, 128, 64, parts, 2)
          : new Variant(
              Direction.BACKWARD, dtype, width, 256, 128, width <= 128 ? 64 : 32, parts, 1);
    }

    /** The kernel's name, and that of its module. */
    String name() {
      return "attention_" + direction.text + "_" + width + "_" + Types.suffix(dtype);
    }

    /** The text that is compiled. */
    String source() {
      int warps = threads / 32;
      List<Object> numbers =
          direction == Direction.FORWARD
              ? List.of(width, rows, step, false, blocks)
              : List.of(
                  width,
                  width / parts,
                  warps,
                  rows / (16 * warps),
                  step,
                  Math.min(step, 32),
                  false,
                  blocks);
      return String.format(
          "#include \"%s\"%nATTENTION_%s(%s, %s, %s)%n",
          direction.files().getFirst(),
          direction,
          name(),
          dtype == DType.F32 ? "float" : Types.suffix(dtype),
          String.join(", ", numbers.stream().map(Object::toString).toList()));
    }
  }

  /** Whether a variant can be launched; compiles and loads it if need be. */
  boolean has(Variant v) {
    return known.computeIfAbsent(v.name(), n -> make(v));
  }

  private synchronized boolean make(Variant v) {
    Nvrtc nvrtc = nvrtc();
    if (nvrtc == null) {
      return false;
    }
    try {
      Map<String, String> texts = v.direction().headers();
      String arch = "sm_" + gpu.capability() + (gpu.capability() == 90 ? "a" : "");
      String key =
          String.join(
              "\n",
              "nvrtc " + nvrtc.version(),
              arch,
              v.source(),
              String.join("\n", texts.values()));
      byte[] kept = cache.get(key);
      if (kept != null) {
        try {
          gpu.addKernels(v.name(), kept);
          return true;
        } catch (CudaException e) {
          String said = e.getMessage();
          LOG.log(
              Level.WARNING,
              "{0} is compiled anew, because what was kept is not loaded: {1}",
              v.name(),
              said);
        }
      }
      long start = System.nanoTime();
      byte[] image = nvrtc.compile(v.name() + ".cu", v.source(), texts, arch);
      gpu.addKernels(v.name(), image);
      cache.put(key, image);
      long millis = (System.nanoTime() - start) / 1_000_000;
      LOG.log(Level.INFO, "{0} was compiled for {1} in {2} ms and is kept", v.name(), arch, millis);
      return true;
    } catch (DeviceException e) {
      LOG.log(
          Level.WARNING,
          "heads of {0} columns are padded, because {1} cannot be had: {2}",
          v.width(),
          v.name(),
          e.getMessage());
      return false;
    }
  }

  private @Nullable Nvrtc nvrtc() {
    if (!asked) {
      asked = true;
      found = compiler.get();
    }
    return found;
  }

  private static String header(String name) {
    String resource = "/io/sfumato/cuda/source/" + name;
    try (InputStream in = AttentionVariants.class.getResourceAsStream(resource)) {
      if (in == null) {
        throw new DeviceException("the jar lacks " + resource);
      }
      return new String(in.readAllBytes(), StandardCharsets.UTF_8);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
