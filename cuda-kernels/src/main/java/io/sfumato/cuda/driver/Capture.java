// SPDX-License-Identifier: Apache-2.0
package io.sfumato.cuda.driver;

import io.sfumato.cuda.memory.AllocationScript;
import io.sfumato.cuda.memory.CachingAllocator;
import io.sfumato.tensor.cpu.Memory;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * A CUDA graph: work that was captured instead of being done. While it is captured, memory comes
 * from a pool that nobody else gets, and what would make the host wait is refused.
 *
 * <p>Parts of the work may depend on numbers of the host. Such a part is noted launch by launch;
 * {@link #update} runs its host code again, during which nothing is launched: each launch is
 * compared with the one noted, and where its arguments differ those in the graph are replaced.
 */
public final class Capture {
  private static final int CHUNK = 3840; // bytes of an upload that go as arguments of one launch
  private static final long MOST_BYTES = 64 << 10;

  /** One thing that a part did on the stream: a launch with its node, or a fill or copy. */
  private static final class Step {
    @Nullable Launch launch; // null for a fill or copy
    final long node;
    final String memory; // which fill or copy

    Step(@Nullable Launch launch, long node, String memory) {
      this.launch = launch;
      this.node = node;
      this.memory = memory;
    }

    @Override
    public String toString() {
      return launch == null ? memory : launch.toString();
    }
  }

  /** A part that depends on the host. */
  private static final class Part {
    final Runnable body;
    final List<Step> steps = new ArrayList<>();
    final AllocationScript memory = new AllocationScript();

    Part(Runnable body) {
      this.body = body;
    }
  }

  private final Gpu gpu;
  private final CachingAllocator.Pool pool;
  private final List<Part> parts = new ArrayList<>();
  private @Nullable Part part;
  private boolean updating;
  private boolean isNew = true;
  private int next;
  private long graph;
  private long exec;

  private Capture(Gpu gpu) {
    this.gpu = gpu;
    this.pool = gpu.memory().newPool();
  }

  /**
   * Captures what {@code body} launches on a device.
   *
   * @throws IllegalStateException if something is being captured there already, or the body makes
   *     the host wait
   */
  public static Capture of(Gpu gpu, Consumer<Capture> body) {
    if (gpu.capture() != null) {
      throw new IllegalStateException("work is being captured already; captures do not nest");
    }
    gpu.enter();
    Capture capture = new Capture(gpu);
    boolean made = false;
    try {
      capture.graph = captured(gpu, capture, body);
      capture.exec = GraphDriver.instantiate(capture.graph);
      made = true;
      return capture;
    } finally {
      if (!made) {
        capture.close(); // also what the pool has taken
      }
    }
  }

  private static long captured(Gpu gpu, Capture capture, Consumer<Capture> body) {
    boolean done = false;
    long graph = 0;
    GraphDriver.begin(gpu.stream());
    gpu.capture(capture);
    gpu.memory().use(capture.pool);
    try {
      body.accept(capture);
      done = true;
    } finally {
      gpu.capture(null);
      gpu.memory().use(null);
      graph = end(gpu, done);
      if (!done && graph != 0) {
        GraphDriver.destroy(graph);
      }
    }
    return graph;
  }

  private static long end(Gpu gpu, boolean done) {
    try {
      return GraphDriver.end(gpu.stream());
    } catch (CudaException e) {
      if (done) {
        throw e;
      }
      return 0; // the exception that ended the body says why
    }
  }

  /** Runs a part that depends on the host, and remembers how to run it again. */
  public void part(Runnable body) {
    if (part != null) {
      throw new IllegalStateException("varying parts of captured work do not nest");
    }
    Part p = new Part(body);
    part = p;
    gpu.memory().follow(p.memory);
    try {
      body.run();
    } finally {
      gpu.memory().follow(null);
      part = null;
    }
    parts.add(p);
  }

  /** Starts the work. */
  public void run() {
    if (exec == 0) {
      throw new IllegalStateException("the graph is closed");
    }
    if (isNew) {
      isNew = false; // the parts have just run
    } else {
      parts.forEach(this::update);
    }
    gpu.enter();
    GraphDriver.launch(exec, gpu.stream());
  }

  private void update(Part p) {
    p.memory.play();
    gpu.memory().follow(p.memory);
    gpu.capture(this);
    part = p;
    updating = true;
    next = 0;
    try {
      p.body.run();
    } finally {
      updating = false;
      part = null;
      gpu.capture(null);
      gpu.memory().follow(null);
    }
    if (next != p.steps.size()) {
      throw changed("nothing more", p.steps.get(next));
    }
  }

  /** The number of launches, fills and copies. */
  public long nodes() {
    return GraphDriver.nodes(graph);
  }

  /** Forgets the work; its memory becomes free for others. */
  public void close() {
    if (exec != 0) {
      GraphDriver.destroyExec(exec);
      exec = 0;
    }
    if (graph != 0) {
      GraphDriver.destroy(graph);
      graph = 0;
    }
    gpu.memory().dissolve(pool);
  }

  // ---- what Gpu and Launch tell

  /** Whether the host code of a part runs again, without launching. */
  boolean isUpdating() {
    return updating;
  }

  /** Notes a launch, if it belongs to a part. */
  void launched(Launch launch) {
    Part p = part;
    if (p != null) {
      p.steps.add(new Step(launch, GraphDriver.lastNode(gpu.stream()), ""));
    }
  }

  /** Puts the arguments of a launch into the graph where they differ from those there. */
  void update(Launch launch) {
    Step step = nextStep(launch.toString());
    Launch before = step.launch;
    if (before == null || !launch.isLike(before)) {
      throw changed(launch.toString(), step);
    }
    if (!launch.isSameAs(before)) {
      launch.setIn(exec, step.node);
      step.launch = launch;
    }
  }

  /** Notes a fill or copy that belongs to a part; false if it must not be done again now. */
  boolean memory(String what) {
    if (updating) {
      Step step = nextStep(what);
      if (!step.memory.equals(what)) {
        throw changed(what, step);
      }
      return false;
    }
    if (part != null) {
      part.steps.add(new Step(null, 0, what));
    }
    return true;
  }

  private Step nextStep(String now) {
    Part p = part;
    if (p == null || next == p.steps.size()) {
      throw new IllegalStateException(
          "a varying part of captured work must do the same each time; new is " + now);
    }
    return p.steps.get(next++);
  }

  private static IllegalStateException changed(String now, Step step) {
    return new IllegalStateException(
        "a varying part of captured work must do the same each time; it was "
            + step
            + ", now it is "
            + now);
  }

  /** Small uploads go along as arguments of launches: so each run of the graph has its values. */
  void upload(long host, long to, long bytes) {
    if (bytes > MOST_BYTES) {
      throw new IllegalStateException(
          bytes
              + " bytes cannot be uploaded while work is captured (at most "
              + MOST_BYTES
              + "); make them an input that is on the device before");
    }
    for (long at = 0; at < bytes; at += CHUNK) {
      int n = (int) Math.min(CHUNK, bytes - at);
      long[] words = new long[CHUNK / 8];
      for (int i = 0; i < n; i++) {
        words[i / 8] |= (Memory.getByte(host + at + i) & 0xffL) << (8 * (i % 8));
      }
      gpu.kernel("graph", "store_bytes").block(256).pointer(to + at).i32(n).longs(words).run();
    }
  }

  /** Refuses to wait. */
  static IllegalStateException waiting() {
    return new IllegalStateException(
        "values cannot be read, nor the device waited for, while work is captured: take out of it"
            + " what needs them (item(), toFloatArray(), to(Device.CPU), norms for clipping)");
  }
}
