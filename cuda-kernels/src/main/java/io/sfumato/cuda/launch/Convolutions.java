// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.launch;

import io.sfumato.cuda.driver.DriverLibrary;
import io.sfumato.cuda.driver.Gpu;
import io.sfumato.cuda.library.Cudnn;
import io.sfumato.cuda.library.CudnnConvolution;
import io.sfumato.cuda.library.CudnnConvolution.Kind;
import io.sfumato.cuda.library.LibrarySearch;
import io.sfumato.cuda.library.MissingLibraryException;
import io.sfumato.cuda.memory.Scratch;
import io.sfumato.tensor.DType;
import io.sfumato.tensor.DeviceException;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Function;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * The convolutions of a device: by cuDNN where it is found and faster, else by {@link ConvKernels}.
 * The first time a convolution of some sizes is met, each way is timed on its tensors; the fastest
 * serves from then on, in later processes too ({@link ConvChoices}).
 */
final class Convolutions {
  /** The system property that switches cuDNN off, by {@code false}, while it is set. */
  static final String CUDNN = "sfumato.cuda.cudnn";

  /** The system property that keeps ways from being timed, by {@code heuristic}. */
  static final String SEARCH = "sfumato.cuda.cudnn.search";

  private static final Logger LOG = System.getLogger(Convolutions.class.getName());
  private static final Map<Gpu, Convolutions> OF_DEVICE = new ConcurrentHashMap<>();
  private static final String OWN = "own kernels";
  private static final int RUNS = 3;
  private static final long LONG_NANOS = 5_000_000; // what takes as long is timed once
  private static final int MOST_PLANS = 5;
  private static final int MOST_FUSED_PLANS = 3;
  private static final int CUDA_13 = 13000;

  private final Gpu gpu;
  private final Supplier<@Nullable Cudnn> library;
  private final Map<Key, Way> ways = new ConcurrentHashMap<>();
  private final Function<@Nullable Cudnn, ConvChoices> source;
  private @Nullable ConvChoices choices;

  /** What a way is chosen for. */
  record Key(Kind kind, Convolution c, boolean bias, boolean tf32, boolean library) {}

  /**
   * What a product is computed from.
   *
   * @param in x for the convolution, else the gradient of y
   * @param weights w, but for its gradient
   * @param x x, for the gradient of w
   * @param bias the bias, or 0
   */
  record From(long in, @Nullable ConvWeights weights, long x, long bias) {
    ConvWeights w() {
      return Objects.requireNonNull(weights);
    }
  }

  /** A way to compute one of the products. */
  @FunctionalInterface
  interface Way extends AutoCloseable {
    /** Queues it. */
    void run(From from, long out);

    /** Frees what it keeps. */
    @Override
    default void close() {}
  }

  /** By cuDNN. */
  private record ByCudnn(CudnnConvolution product, Way steps) implements Way {
    @Override
    public void run(From from, long out) {
      steps.run(from, out);
    }

    @Override
    public void close() {
      product.close();
    }
  }

  private Convolutions(
      Gpu gpu, Supplier<@Nullable Cudnn> library, Function<@Nullable Cudnn, ConvChoices> source) {
    this.gpu = gpu;
    this.library = library;
    this.source = source;
  }

  /** Those of a device. */
  static Convolutions of(Gpu gpu) {
    return OF_DEVICE.computeIfAbsent(
        gpu, g -> new Convolutions(g, new Found(g), cudnn -> ConvChoices.of(g, cudnn)));
  }

  /** Those of a device, with or without cuDNN whatever the property says. */
  static Convolutions of(Gpu gpu, @Nullable Cudnn cudnn) {
    return new Convolutions(gpu, () -> cudnn, c -> new ConvChoices(gpu, c, null));
  }

  /** The same with choices that are kept somewhere. */
  static Convolutions of(Gpu gpu, @Nullable Cudnn cudnn, ConvChoices choices) {
    return new Convolutions(gpu, () -> cudnn, c -> choices);
  }

  /** cuDNN, looked for when it is asked for first, unless the property forbids it. */
  private static final class Found implements Supplier<@Nullable Cudnn> {
    private final Gpu gpu;
    private boolean told;
    private boolean searched;
    private @Nullable Cudnn cudnn;

    Found(Gpu gpu) {
      this.gpu = gpu;
    }

    @Override
    public synchronized @Nullable Cudnn get() {
      if (System.getProperty(CUDNN, "true").equals("false")) {
        if (!told) {
          LOG.log(Level.INFO, "{0}: cuDNN is not used, because -D{1}=false", gpu.device(), CUDNN);
        }
        told = true;
        return null;
      }
      if (!searched) {
        cudnn = find(gpu);
        searched = true;
      }
      return cudnn;
    }
  }

  private static @Nullable Cudnn find(Gpu gpu) {
    try {
      Cudnn found = open(gpu);
      LOG.log(Level.INFO, "{0}: convolutions may use cuDNN ({1})", gpu.device(), found.name());
      return found;
    } catch (MissingLibraryException e) {
      LOG.log(
          Level.INFO,
          "{0}: cuDNN is not used, because {1}; convolutions run on kernels of this library",
          gpu.device(),
          e.getMessage());
      return null;
    }
  }

  /** cuDNN on a device. */
  static Cudnn open(Gpu gpu) throws MissingLibraryException {
    if (!DriverLibrary.name().equals("libcuda.so.1")) {
      throw new MissingLibraryException(
          "it runs on libcuda.so.1 only and the driver is " + DriverLibrary.name());
    }
    return Cudnn.open(LibrarySearch.ofThisMachine(), Gpu.driverVersion() >= CUDA_13, gpu);
  }

  /** {@code y = x * w + bias}; no bias if 0. */
  void forward(Convolution c, long x, ConvWeights w, long bias, long y) {
    run(Kind.FORWARD, c, new From(x, w, 0, bias), y);
  }

  /** The gradient of x. */
  void backwardInput(Convolution c, long dy, ConvWeights w, long dx) {
    run(Kind.INPUT, c, new From(dy, w, 0, 0), dx);
  }

  /** The gradient of w. */
  void backwardWeight(Convolution c, long dy, long x, long dw) {
    run(Kind.WEIGHT, c, new From(dy, null, x, 0), dw);
  }

  private void run(Kind kind, Convolution c, From from, long out) {
    boolean tf32 = ConvPrecision.tf32();
    boolean fits = (from.in() | from.x() | from.bias() | out) % 16 == 0;
    if (from.weights() != null) {
      fits &= from.weights().aligned();
    }
    boolean asked = fits && suits(kind, c) && library.get() != null;
    Key key = new Key(kind, c, from.bias() != 0, tf32, asked);
    Way way = ways.get(key);
    if (way == null && gpu.isCapturing()) { // no plan can be made or timed now
      way = own(kind, new ConvKernels(gpu, c, tf32));
    } else if (way == null) {
      way = choose(key, from, out);
      ways.put(key, way);
    }
    way.run(from, out);
  }

  /**
   * Whether cuDNN is asked at all: images whose padding is the same on both sides. Gradients of
   * weights of one to three channels in 16 bits are not given to it: one of its engines for them
   * rounds sums more than once.
   */
  private static boolean suits(Kind kind, Convolution c) {
    if (kind == Kind.WEIGHT && c.dtype().isHalf() && c.in() / c.groups() < 4) {
      return false;
    }
    boolean volume = c.kernel().getFirst() > 1 || c.from().getFirst() > 1;
    if (volume || c.before().getFirst() != 0 || c.dtype() == DType.F64) {
      return false;
    }
    for (int a = 1; a < 3; a++) {
      int room = c.from().get(a) + 2 * c.before().get(a);
      int window = c.dilation().get(a) * (c.kernel().get(a) - 1) + 1;
      if ((room - window) / c.stride().get(a) + 1 != c.to().get(a)) {
        return false;
      }
    }
    return true;
  }

  private static Way own(Kind kind, ConvKernels kernels) {
    return switch (kind) {
      case FORWARD -> (f, y) -> kernels.forward(f.in(), f.w(), f.bias(), y);
      case INPUT -> (f, dx) -> kernels.backwardInput(f.in(), f.w(), dx);
      case WEIGHT -> (f, dw) -> kernels.backwardWeight(f.in(), f.x(), dw);
    };
  }

  /** All ways to compute a product, cuDNN's in the order of its heuristics. */
  Map<String, Way> candidates(Kind kind, Convolution c, boolean bias, boolean tf32) {
    return candidates(new Key(kind, c, bias, tf32, true));
  }

  private Map<String, Way> candidates(Key key) {
    Map<String, Way> found = new LinkedHashMap<>();
    Kind kind = key.kind();
    Convolution c = key.c();
    Cudnn cudnn = key.library() && suits(kind, c) ? library.get() : null;
    if (cudnn != null) {
      found.putAll(byCudnn(cudnn, kind, c, key.bias(), false, key.tf32()));
      if (key.bias() && (isSearching() || found.isEmpty())) {
        found.putAll(byCudnn(cudnn, kind, c, true, true, key.tf32()));
      }
    }
    found.putAll(byOwnKernels(key));
    return found;
  }

  private Map<String, Way> byOwnKernels(Key key) {
    Map<String, Way> found = new LinkedHashMap<>();
    Kind kind = key.kind();
    Convolution c = key.c();
    ConvKernels own = new ConvKernels(gpu, c, key.tf32());
    found.put(OWN, own(kind, own));
    if (own.largeTiles(kind)) {
      found.put(
          OWN + ", eight warps",
          own(kind, new ConvKernels(gpu, c, key.tf32(), t -> t == ConvPlan.EIGHT)));
    }
    return found;
  }

  private static boolean isSearching() {
    return !System.getProperty(SEARCH, "time").equals("heuristic");
  }

  private Way choose(Key key, From from, long out) {
    boolean search = isSearching();
    String known = search ? choices().known(key) : null;
    boolean own = known != null && known.startsWith(OWN);
    Map<String, Way> candidates = own ? byOwnKernels(key) : candidates(key);
    if (candidates.size() == 1) {
      return candidates.values().iterator().next();
    }
    if (candidates.size() > 1 && key.tf32() && key.c().dtype() == DType.F32) {
      ConvPrecision.tell();
    }
    Way found = known == null ? null : candidates.get(known);
    if (found != null && works(key, known, found, from, out)) {
      return only(found, candidates);
    }
    if (known != null) {
      LOG.log(Level.INFO, "{0} is no more to be had by {1}: its ways are timed", key.c(), known);
      candidates.values().forEach(Way::close);
      candidates = candidates(key);
    }
    Map.Entry<String, Way> chosen = fastest(key, candidates, search, from, out);
    if (chosen == null) {
      candidates.values().forEach(Way::close);
      return own(key.kind(), new ConvKernels(gpu, key.c(), key.tf32()));
    }
    if (search) {
      choices().keep(key, chosen.getKey());
    }
    return only(chosen.getValue(), candidates);
  }

  private synchronized ConvChoices choices() {
    ConvChoices made = choices;
    if (made == null) {
      made = source.apply(library.get());
      choices = made;
    }
    return made;
  }

  private boolean works(Key key, @Nullable String name, Way way, From from, long out) {
    try {
      time(way, false, from, out);
      return true;
    } catch (DeviceException e) {
      LOG.log(Level.INFO, "{0}: {1}: {2}", key.c(), name, e.getMessage());
      return false;
    }
  }

  /** Closes all ways but one. */
  private static Way only(Way chosen, Map<String, Way> candidates) {
    candidates.values().remove(chosen);
    candidates.values().forEach(Way::close);
    return chosen;
  }

  private Map.@Nullable Entry<String, Way> fastest(
      Key key, Map<String, Way> candidates, boolean search, From from, long out) {
    Map.Entry<String, Way> best = null;
    long least = Long.MAX_VALUE;
    for (Map.Entry<String, Way> candidate : candidates.entrySet()) {
      long time;
      try {
        time = time(candidate.getValue(), search, from, out);
      } catch (DeviceException e) {
        LOG.log(Level.INFO, "{0}: {1}: {2}", key.c(), candidate.getKey(), e.getMessage());
        continue;
      }
      LOG.log(
          Level.DEBUG,
          "{0} of {1} by {2}: {3} us",
          key.kind(),
          key.c(),
          candidate.getKey(),
          time / 1000);
      if (time < least) {
        least = time;
        best = candidate;
      }
      if (!search) {
        break;
      }
    }
    return best;
  }

  /** Nanoseconds of a run after a first one, or 0 if it is not to be timed. */
  private long time(Way way, boolean timed, From from, long out) {
    way.run(from, out);
    gpu.synchronize();
    if (!timed) {
      return 0;
    }
    long once = time(way, 1, from, out);
    return once > LONG_NANOS ? once : time(way, RUNS, from, out);
  }

  private long time(Way way, int runs, From from, long out) {
    long start = System.nanoTime();
    for (int i = 0; i < runs; i++) {
      way.run(from, out);
    }
    gpu.synchronize();
    return (System.nanoTime() - start) / runs;
  }

  /**
   * The ways of cuDNN, which has and makes weights [out, taps, in/groups].
   *
   * @param bias whether y gets a bias
   * @param fused whether cuDNN adds it
   */
  private Map<String, Way> byCudnn(
      Cudnn cudnn, Kind kind, Convolution c, boolean bias, boolean fused, boolean tf32) {
    Map<String, Way> found = new LinkedHashMap<>();
    ConvKernels kernels = new ConvKernels(gpu, c, false);
    String how = fused ? ", bias in the kernel" : bias ? ", bias after it" : "";
    try {
      int most = !isSearching() ? 1 : fused ? MOST_FUSED_PLANS : MOST_PLANS;
      for (CudnnConvolution p :
          CudnnConvolution.prepare(cudnn, kind, sizes(c), fused, tf32, most)) {
        Way steps = steps(p, kernels, kind, bias && !fused);
        found.put("cuDNN " + p.name() + how, new ByCudnn(p, steps));
      }
    } catch (DeviceException e) {
      LOG.log(Level.INFO, "{0} of {1} is not by cuDNN{2}: {3}", kind, c, how, e.getMessage());
    }
    return found;
  }

  private Way steps(CudnnConvolution product, ConvKernels kernels, Kind kind, boolean addBias) {
    if (kind == Kind.WEIGHT) {
      return (from, dw) -> weightGradient(product, kernels, from, dw);
    }
    return (from, y) -> {
      product.run(from.in(), from.w().tapsFirst(), from.bias(), y);
      if (addBias) {
        kernels.addBias(from.bias(), y);
      }
    };
  }

  private void weightGradient(CudnnConvolution product, ConvKernels kernels, From from, long dw) {
    if (kernels.tapsFirstIsRowMajor()) {
      product.run(from.in(), from.x(), 0, dw);
      return;
    }
    try (Scratch gradient = gpu.scratch(kernels.weightBytes())) {
      product.run(from.in(), from.x(), 0, gradient.address());
      kernels.tapsLast(gradient.address(), dw);
    }
  }

  private static CudnnConvolution.Sizes sizes(Convolution c) {
    return new CudnnConvolution.Sizes(
        c.dtype(),
        new int[] {c.images(), c.in(), c.from().get(1), c.from().get(2)},
        new int[] {c.out(), c.inPerGroup(), c.kernel().get(1), c.kernel().get(2)},
        new int[] {c.images(), c.out(), c.to().get(1), c.to().get(2)},
        flat(c.before()),
        flat(c.stride()),
        flat(c.dilation()));
  }

  private static int[] flat(List<Integer> sizes) {
    return new int[] {sizes.get(1), sizes.get(2)};
  }
}
