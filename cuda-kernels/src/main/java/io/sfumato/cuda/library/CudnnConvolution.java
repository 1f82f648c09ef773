// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.library;

import io.sfumato.cuda.memory.Scratch;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.DeviceException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;

/**
 * One of the three products of a convolution over images, by one plan of cuDNN's. Images are
 * [images, rows, columns, channels], weights [out, kh, kw, in/groups], sums f32.
 */
public final class CudnnConvolution implements AutoCloseable {
  /** Which product. */
  public enum Kind {
    /** y from x and w. */
    FORWARD,
    /** dx from dy and w. */
    INPUT,
    /** dw from dy and x. */
    WEIGHT
  }

  /**
   * The sizes of a convolution.
   *
   * @param dtype f32, bf16 or f16
   * @param x images, channels, rows, columns of x
   * @param w out, in/groups, rows, columns of the kernel
   * @param y images, channels, rows, columns of y
   * @param padding rows above (and below) and columns left (and right)
   * @param stride of rows and columns
   * @param dilation of rows and columns
   */
  @SuppressWarnings("ArrayRecordComponent") // never compared
  public record Sizes(
      DType dtype, int[] x, int[] w, int[] y, int[] padding, int[] stride, int[] dilation) {}

  // cudnnBackendNumericalNote_t
  private static final int TENSOR_CORE = 0;
  private static final int DOWN_CONVERT_INPUTS = 1;
  private static final int REDUCED_PRECISION_REDUCTION = 2;
  private static final int FFT = 3;
  private static final int NONDETERMINISTIC = 4;
  private static final int WINOGRAD = 5;
  private static final int WINOGRAD_4X4 = 6;
  private static final int WINOGRAD_6X6 = 7;
  private static final int WINOGRAD_13X13 = 8;
  private static final int MOST_NOTES = 10;

  // cudnnBackendHeurMode_t
  private static final int MODE_FALLBACK = 2;
  private static final int MODE_A = 3;

  // cudnnBackendAttributeName_t
  private static final int HEURISTIC_MODE = 200;
  private static final int HEURISTIC_GRAPH = 201;
  private static final int HEURISTIC_RESULTS = 202;
  private static final int CONFIG_ENGINE = 300;
  private static final int PLAN_HANDLE = 400;
  private static final int PLAN_CONFIG = 401;
  private static final int PLAN_WORKSPACE = 402;
  private static final int PACK_IDS = 1000;
  private static final int PACK_POINTERS = 1001;
  private static final int PACK_WORKSPACE = 1003;
  private static final int ENGINE_INDEX = 1301;
  private static final int ENGINE_NOTES = 1303;

  private static final int MOST_CONFIGS = 64;
  private static final int MOST_TRIED = 12;
  private static final long MOST_WORKSPACE = 256L << 20;

  private final Cudnn cudnn;
  private final CudnnGraph graph;
  private final Config config;
  private final long plan;
  private final long workspace;
  private boolean closed;

  /** What cuDNN's heuristics name: an engine with its settings. */
  private record Config(long descriptor, int rank, long engine, Set<Integer> notes) {}

  private CudnnConvolution(
      Cudnn cudnn, CudnnGraph graph, Config config, long plan, long workspace) {
    this.cudnn = cudnn;
    this.graph = graph;
    this.config = config;
    this.plan = plan;
    this.workspace = workspace;
    graph.retain();
  }

  /**
   * A convolution ready to run, in each of the ways that cuDNN's heuristics rank highest, best
   * first. Engines that give other digits from run to run are left out unless there are no others.
   *
   * @param bias whether a bias is added to y in the same kernel
   * @param tf32 whether f32 may be rounded to tf32
   * @param most the number of ways wanted
   * @throws DeviceException if cuDNN has no way; it tells why
   */
  public static List<CudnnConvolution> prepare(
      Cudnn cudnn, Kind kind, Sizes s, boolean bias, boolean tf32, int most) {
    synchronized (cudnn) {
      cudnn.gpu().enter();
      CudnnGraph graph = new CudnnGraph(cudnn.backend(), cudnn.handle(), kind, s, bias);
      List<Config> configs = new ArrayList<>();
      try {
        return prepare(cudnn, graph, unwanted(s.dtype(), tf32), configs, most);
      } finally {
        configs.forEach(c -> cudnn.backend().destroy(c.descriptor())); // those that none keeps
        graph.release();
      }
    }
  }

  private static List<CudnnConvolution> prepare(
      Cudnn cudnn, CudnnGraph graph, Set<Integer> unwanted, List<Config> configs, int most) {
    List<CudnnConvolution> found = new ArrayList<>();
    List<String> reasons = new ArrayList<>();
    for (int mode : new int[] {MODE_A, MODE_FALLBACK}) {
      List<Config> more = List.of();
      try {
        more = ranked(cudnn.backend(), graph, mode, configs.size());
        configs.addAll(more);
      } catch (DeviceException e) {
        reasons.add(e.getMessage());
      }
      plans(cudnn, graph, unwanted, false, more, configs, most, found, reasons);
      if (!found.isEmpty()) {
        return found;
      }
    }
    plans(cudnn, graph, unwanted, true, List.copyOf(configs), configs, most, found, reasons);
    if (found.isEmpty()) {
      throw new DeviceException(
          "none of its " + configs.size() + " engines serves: " + String.join("; ", reasons));
    }
    return found;
  }

  /** Notes of engines that round more than is allowed. */
  private static Set<Integer> unwanted(DType dtype, boolean tf32) {
    if (dtype != DType.F32) {
      return Set.of(FFT, WINOGRAD, WINOGRAD_4X4, WINOGRAD_6X6, WINOGRAD_13X13);
    }
    return tf32
        ? Set.of(REDUCED_PRECISION_REDUCTION, WINOGRAD_4X4, WINOGRAD_6X6, WINOGRAD_13X13)
        : Set.of(
            TENSOR_CORE,
            DOWN_CONVERT_INPUTS,
            REDUCED_PRECISION_REDUCTION,
            WINOGRAD_4X4,
            WINOGRAD_6X6,
            WINOGRAD_13X13);
  }

  /** What the heuristics name, best first. The caller owns the descriptors. */
  private static List<Config> ranked(CudnnBackend backend, CudnnGraph graph, int mode, int before) {
    long heuristic = backend.create(CudnnBackend.HEURISTIC);
    List<Config> all = new ArrayList<>();
    long[] into = new long[0];
    int kept = 0;
    try {
      backend.set(heuristic, HEURISTIC_GRAPH, CudnnBackend.TYPE_DESCRIPTOR, graph.descriptor());
      backend.choose(heuristic, HEURISTIC_MODE, CudnnBackend.TYPE_HEURISTIC_MODE, mode);
      backend.end(heuristic, "the heuristics of mode " + mode);
      int n = backend.count(heuristic, HEURISTIC_RESULTS, CudnnBackend.TYPE_DESCRIPTOR);
      into = new long[Math.min(n, MOST_CONFIGS)];
      for (int i = 0; i < into.length; i++) {
        into[i] = backend.create(CudnnBackend.ENGINE_CONFIG);
      }
      int got = into.length == 0 ? 0 : backend.descriptors(heuristic, HEURISTIC_RESULTS, into);
      for (int i = 0; i < got; i++) {
        all.add(config(backend, into[i], before + i));
      }
      kept = got;
      return all;
    } finally {
      for (int i = kept; i < into.length; i++) {
        if (into[i] != 0) {
          backend.destroy(into[i]);
        }
      }
      backend.destroy(heuristic);
    }
  }

  private static Config config(CudnnBackend backend, long descriptor, int rank) {
    long engine = backend.create(CudnnBackend.ENGINE);
    try {
      backend.descriptors(descriptor, CONFIG_ENGINE, engine);
      long index = backend.number(engine, ENGINE_INDEX);
      int[] notes =
          backend.choices(engine, ENGINE_NOTES, CudnnBackend.TYPE_NUMERICAL_NOTE, MOST_NOTES);
      return new Config(
          descriptor, rank, index, Set.copyOf(Arrays.stream(notes).boxed().distinct().toList()));
    } finally {
      backend.destroy(engine);
    }
  }

  /** Adds plans of some to {@code found}; what they keep is taken out of {@code configs}. */
  private static void plans(
      Cudnn cudnn,
      CudnnGraph graph,
      Set<Integer> unwanted,
      boolean varying,
      List<Config> of,
      List<Config> configs,
      int most,
      List<CudnnConvolution> found,
      List<String> reasons) {
    int tried = 0;
    for (Config c : of) {
      if (found.size() >= most || tried >= MOST_TRIED) {
        return;
      }
      String name = "engine " + c.engine();
      if (c.notes().stream().anyMatch(unwanted::contains)) {
        if (!varying) {
          reasons.add(name + " rounds more than is allowed (its notes are " + c.notes() + ")");
        }
      } else if (c.notes().contains(NONDETERMINISTIC) == varying) {
        tried++;
        try {
          found.add(plan(cudnn, graph, c));
          configs.remove(c);
        } catch (DeviceException e) {
          reasons.add(name + ": " + e.getMessage());
        }
      }
    }
  }

  private static CudnnConvolution plan(Cudnn cudnn, CudnnGraph graph, Config config) {
    CudnnBackend backend = cudnn.backend();
    long plan = backend.create(CudnnBackend.PLAN);
    try {
      backend.set(plan, PLAN_HANDLE, CudnnBackend.TYPE_HANDLE, cudnn.handle());
      backend.set(plan, PLAN_CONFIG, CudnnBackend.TYPE_DESCRIPTOR, config.descriptor());
      backend.end(plan, "the plan");
      long workspace = backend.number(plan, PLAN_WORKSPACE);
      if (workspace > MOST_WORKSPACE) {
        throw new DeviceException("needs " + workspace + " bytes to work in");
      }
      return new CudnnConvolution(cudnn, graph, config, plan, workspace);
    } catch (DeviceException e) {
      backend.destroy(plan);
      throw e;
    }
  }

  /** Its rank and its engine's number. */
  public String name() {
    return (config.rank() + 1) + ", engine " + config.engine();
  }

  /**
   * Queues the computation of {@code out}.
   *
   * @param in x of a forward product, else dy
   * @param other w, or x for the gradient of the weight
   * @param bias the bias of a forward product prepared with one; else not used
   * @param out what is computed
   */
  public void run(long in, long other, long bias, long out) {
    synchronized (cudnn) {
      if (closed) {
        throw new IllegalStateException("closed");
      }
      cudnn.gpu().enter();
      CudnnBackend backend = cudnn.backend();
      long pack = backend.create(CudnnBackend.VARIANT_PACK);
      try (Scratch scratch = cudnn.gpu().scratch(workspace)) {
        long[] at =
            graph.hasBias() ? new long[] {in, other, out, bias} : new long[] {in, other, out};
        backend.set(pack, PACK_IDS, CudnnBackend.TYPE_INT64, graph.ids());
        backend.set(pack, PACK_POINTERS, CudnnBackend.TYPE_POINTER, at);
        backend.set(pack, PACK_WORKSPACE, CudnnBackend.TYPE_POINTER, scratch.address());
        backend.end(pack, "the addresses");
        backend.execute(cudnn.handle(), plan, pack);
      } finally {
        backend.destroy(pack);
      }
    }
  }

  /** Frees what cuDNN keeps for it; work that is queued goes on. */
  @Override
  public void close() {
    synchronized (cudnn) {
      if (!closed) {
        closed = true;
        cudnn.backend().destroy(plan);
        cudnn.backend().destroy(config.descriptor());
        graph.release();
      }
    }
  }
}
