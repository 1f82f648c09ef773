// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import io.sfumato.cuda.memory.CachingAllocator;
import io.sfumato.cuda.memory.Scratch;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.Tensor;
import java.lang.System.Logger;
import java.lang.System.Logger.Level;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicReferenceArray;
import org.jspecify.annotations.Nullable;

/**
 * One NVIDIA device: its primary context, one stream for computing, memory and kernels. Everything
 * that is launched runs in order on that stream; the host goes on meanwhile and waits only when it
 * reads something.
 */
public final class Gpu {
  private static final Logger LOG = System.getLogger(Gpu.class.getName());

  /** Whether every launch is waited for, so that an error names the kernel that made it. */
  static final boolean SYNCHRONOUS = Boolean.getBoolean("sfumato.cuda.sync");

  /** How many {@link #counters} there are. */
  public static final int COUNTERS = 4096;

  private static final int MOST_DEVICES = 64;
  private static final AtomicReferenceArray<@Nullable Gpu> DEVICES =
      new AtomicReferenceArray<>(MOST_DEVICES);
  private static final ThreadLocal<long[]> CURRENT = ThreadLocal.withInitial(() -> new long[1]);

  // CUdevice_attribute
  private static final int MULTIPROCESSORS = 16;
  private static final int CAPABILITY_MAJOR = 75;
  private static final int CAPABILITY_MINOR = 76;
  private static final int SHARED_PER_BLOCK_OPTIN = 97;

  private final Device device;
  private final String name;
  private final int capability;
  private final int multiprocessors;
  private final int sharedPerBlock;
  private final long totalMemory;
  private final int handle;
  private final long context;
  private final long stream;
  private final CachingAllocator memory;
  private final KernelModules modules;
  private final DeviceErrors errors;
  private final PinnedRing ring;
  private final long counters;
  private final Set<Gpu> met = ConcurrentHashMap.newKeySet(); // peers that copies came from
  private volatile @Nullable CudaException broken;
  private @Nullable Capture capture; // one thread computes per device

  private Gpu(int index) {
    Driver.init();
    int handle = Driver.device(index);
    device = new Device("cuda", index);
    name = Driver.name(handle, 256);
    capability =
        10 * Driver.attribute(handle, CAPABILITY_MAJOR)
            + Driver.attribute(handle, CAPABILITY_MINOR);
    if (capability < 80) {
      throw new DeviceException(
          device
              + ": not used, because "
              + name
              + " has compute capability "
              + capability / 10.0
              + " and the kernels need 8.0 (Ampere) or newer; use --device cpu");
    }
    multiprocessors = Driver.attribute(handle, MULTIPROCESSORS);
    sharedPerBlock = Driver.attribute(handle, SHARED_PER_BLOCK_OPTIN);
    totalMemory = Driver.totalMemory(handle);
    this.handle = handle;
    context = Driver.retainContext(handle);
    memory = new CachingAllocator(what(), source(), Boolean.getBoolean("sfumato.cuda.exact"));
    modules = new KernelModules(capability, sharedPerBlock);
    boolean done = false;
    try {
      enter();
      counters = Driver.allocate(COUNTERS * 4L);
      if (counters == 0) {
        throw new DeviceException(
            what()
                + ": not used, because its memory is full; see in nvidia-smi which programs hold"
                + " it, or use --device cpu");
      }
      stream = Driver.createStream();
      Driver.fill(counters, (byte) 0, COUNTERS * 4L, stream);
      errors = new DeviceErrors();
      ring = new PinnedRing();
      done = true;
    } finally {
      if (!done) {
        CURRENT.get()[0] = 0;
        Driver.releaseContext(handle); // with all that was made in it
      }
    }
  }

  private String what() {
    return device + " (" + name + ")";
  }

  private CachingAllocator.Source source() {
    return new CachingAllocator.Source() {
      @Override
      public long allocate(long bytes) {
        enter();
        return Driver.allocate(bytes);
      }

      @Override
      public void free(long address) {
        enter();
        Driver.free(address);
      }
    };
  }

  /** The number of devices that the driver shows. */
  public static int count() {
    Driver.init();
    return Driver.count();
  }

  /** The newest CUDA that the driver knows: 1000 major + 10 minor. */
  public static int driverVersion() {
    return Driver.version();
  }

  /**
   * A device, opened when first asked for.
   *
   * @throws DeviceException if it cannot be used, with the reason
   */
  public static Gpu of(int index) {
    Gpu known = index < MOST_DEVICES ? DEVICES.get(index) : null;
    if (known != null) {
      return known;
    }
    synchronized (Gpu.class) {
      int there = count();
      if (index >= Math.min(there, MOST_DEVICES)) {
        throw new DeviceException(
            "cuda:"
                + index
                + ": there "
                + (there == 1 ? "is 1 device" : "are " + there + " devices")
                + "; see CUDA_VISIBLE_DEVICES");
      }
      known = DEVICES.get(index);
      if (known == null) {
        known = new Gpu(index);
        DEVICES.set(index, known);
      }
      return known;
    }
  }

  /** The device of a tensor. */
  public static Gpu of(Tensor t) {
    return of(t.device().index());
  }

  // ---- what it is

  /** Its name in tensors. */
  public Device device() {
    return device;
  }

  /** The name its maker gave it. */
  public String name() {
    return name;
  }

  /** Compute capability times ten: 80 for Ampere A100, 90 for Hopper. */
  public int capability() {
    return capability;
  }

  /** The number of multiprocessors. */
  public int multiprocessors() {
    return multiprocessors;
  }

  /** The most dynamic shared memory a block can have, in bytes. */
  public int sharedPerBlock() {
    return sharedPerBlock;
  }

  /** Bytes of memory. */
  public long totalMemory() {
    return totalMemory;
  }

  // ---- launching

  /** A launch of a kernel, to be filled in. */
  public Launch kernel(String family, String kernel) {
    enter();
    return new Launch(this, modules.function(family, kernel));
  }

  /**
   * Loads kernels that are not in the jar.
   *
   * @param family the name that {@link #kernel} finds them by
   * @param image machine code for this device
   * @throws CudaException if the driver does not take it
   */
  public void addKernels(String family, byte[] image) {
    enter();
    modules.add(family, image);
  }

  /** The stream that everything runs on (a CUstream). */
  public long stream() {
    return stream;
  }

  /** Makes this device's context current on the calling thread. */
  public void enter() {
    CudaException lost = broken;
    if (lost != null) {
      throw new DeviceException(
          device
              + " is lost since an earlier error; start a new process. It was: "
              + lost.getMessage());
    }
    long[] current = CURRENT.get();
    if (current[0] != context) {
      Driver.setCurrent(context);
      current[0] = context;
    }
  }

  /** Whether work is being captured, which nothing may wait for. */
  public boolean isCapturing() {
    return capture != null;
  }

  @Nullable Capture capture() {
    return capture;
  }

  void capture(@Nullable Capture next) {
    capture = next;
  }

  private void refuseToWait() {
    if (capture != null) {
      throw Capture.waiting();
    }
  }

  /** Whether a fill or copy is to be done now. */
  private boolean isDone(String what, long to, long from, long bytes) {
    Capture c = capture;
    return c == null || c.memory(what + " of " + bytes + " bytes at " + to + " from " + from);
  }

  /** Notes an error after which the device cannot be used, and returns it. */
  CudaException failed(CudaException e) {
    if (e.isSticky()) {
      broken = e;
    }
    return e;
  }

  // ---- memory

  /** Its memory. */
  public CachingAllocator memory() {
    return memory;
  }

  /** Memory for the time of a launch. */
  public Scratch scratch(long bytes) {
    return new Scratch(memory, bytes);
  }

  /** Sets bytes to zero. */
  public void zero(long address, long bytes) {
    if (bytes > 0 && isDone("fill", address, 0, bytes)) {
      enter();
      guarded(() -> Driver.fill(address, (byte) 0, bytes, stream));
    }
  }

  /** Copies within the device. */
  public void copy(long to, long from, long bytes) {
    if (bytes > 0 && isDone("copy", to, from, bytes)) {
      enter();
      guarded(() -> Driver.within(to, from, bytes, stream));
    }
  }

  /**
   * Copies from another device, after everything launched there so far; what is launched there
   * later waits for it, so its memory may be reused at once. The host does not wait.
   *
   * @throws IllegalStateException while one of the devices captures work
   */
  public void receive(Gpu source, long from, long to, long bytes) {
    if (capture != null || source.capture != null) {
      throw new IllegalStateException(
          "copies from "
              + source.device
              + " to "
              + device
              + " cannot be recorded; make them before");
    }
    if (bytes == 0) {
      return;
    }
    try (Place written = source.reached()) {
      enter();
      guarded(
          () -> {
            if (met.add(source)) {
              connect(source);
            }
            Driver.waitFor(stream, written.event);
            PeerDriver.copy(to, context, from, source.context, bytes, stream);
          });
      try (Place copied = reached()) {
        source.enter();
        source.guarded(() -> Driver.waitFor(source.stream, copied.event));
      }
    }
    enter();
  }

  private void connect(Gpu source) {
    String why = PeerDriver.connect(handle, source.handle, source.context);
    if (why != null) {
      LOG.log(
          Level.INFO,
          "copies from {0} to {1} go by way of the host, which is slower, because {2}",
          source.device,
          device,
          why);
    }
  }

  /** An event at a place of a stream; may be closed when what waits for it was launched. */
  private record Place(long event) implements AutoCloseable {
    @Override
    public void close() {
      Driver.destroyEvent(event);
    }
  }

  /** This place of the stream. */
  private Place reached() {
    enter();
    Place place = new Place(Driver.createEvent(false));
    guarded(() -> Driver.record(place.event, stream));
    return place;
  }

  /** Copies from the host; the host memory may be reused at once. */
  public void upload(long host, long to, long bytes) {
    if (bytes == 0) {
      return;
    }
    Capture c = capture;
    if (c != null) {
      c.upload(host, to, bytes);
      return;
    }
    enter();
    guarded(
        () -> {
          if (bytes <= PinnedRing.LARGEST) {
            ring.upload(host, to, bytes, stream);
          } else {
            Driver.toDevice(to, host, bytes, stream);
            Driver.synchronizeStream(stream);
          }
        });
  }

  /** Copies to the host, after everything launched so far. */
  public void download(long from, long host, long bytes) {
    refuseToWait();
    enter();
    guarded(
        () -> {
          if (bytes > 0) {
            Driver.toHost(host, from, bytes, stream);
          }
          Driver.synchronizeStream(stream);
        });
    errors.check();
  }

  /**
   * Waits until everything launched so far is done.
   *
   * @throws IllegalStateException while work is captured
   * @throws CudaException if a kernel failed
   * @throws io.sfumato.tensor.ShapeException if a kernel met an index outside its axis
   */
  public void synchronize() {
    refuseToWait();
    enter();
    guarded(() -> Driver.synchronizeStream(stream));
    errors.check();
  }

  void synchronizeAfter(Launch launch) {
    try {
      synchronize();
    } catch (CudaException e) {
      throw failed(
          new CudaException(e.code(), launch.toString(), Driver.name(e.code()), "while it ran"));
    }
  }

  // ---- timing

  /** Marks this place in the stream; give it to {@link #milliseconds} and {@link #forget}. */
  public long mark() {
    enter();
    long event = Driver.createEvent(true);
    Driver.record(event, stream);
    return event;
  }

  /** Milliseconds that the device took from one mark to another, both reached. */
  public float milliseconds(long from, long to) {
    enter();
    return Driver.elapsed(from, to);
  }

  /** Gives a mark back. */
  public void forget(long mark) {
    enter();
    Driver.destroyEvent(mark);
  }

  /** Where kernels report what they find wrong: {@code struct DeviceError*} of {@code dev.h}. */
  public long errorWord() {
    return errors.address();
  }

  /**
   * Address of int[COUNTERS], zero between launches: a kernel that counts in them sets them to zero
   * before it ends.
   */
  public long counters() {
    return counters;
  }

  private void guarded(Runnable call) {
    try {
      call.run();
    } catch (CudaException e) {
      throw failed(e);
    }
  }
}
