// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd;

import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.exec.Decorator;
import io.sfumato.tensor.exec.Executor;
import io.sfumato.tensor.exec.Saved;
import io.sfumato.tensor.ops.Updates;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;

/**
 * What a region of code computed from tracked tensors, in order. Holds the storages that backward
 * needs and lets go of each as soon as it is used, and of all of them when closed. Every tracked
 * tensor has a slot, where its gradient gathers.
 *
 * <p>A tape made by {@link #inside} finds its leaves by itself: any tensor tracked by the enclosing
 * tape becomes one when it is first used, and its gradients go straight to the enclosing tape, in
 * the order in which they would arrive there without a checkpoint. So results are the same to the
 * bit.
 */
final class Tape implements AutoCloseable {
  private final Executor executor;
  private final @Nullable Tape enclosing;
  private final boolean dry;
  private final boolean recorded; // whether an outer region records backward
  private final IdTable slots = new IdTable();
  private final List<Tensor> captured = new ArrayList<>();
  private final List<@Nullable Node> nodes = new ArrayList<>();
  private @Nullable Tensor[] grads = new Tensor[64];
  private boolean[] owned = new boolean[64]; // whether the gradient may be overwritten
  private int[] outside =
      new int[64]; // for leaves found by themselves: 1 + slot on the enclosing tape
  private int count;

  private Tape(Executor executor, @Nullable Tape enclosing, boolean dry) {
    this.executor = executor;
    this.enclosing = enclosing;
    this.dry = dry;
    this.recorded = Decorator.find(executor, Recorder.class) != null;
  }

  /** A tape whose backward runs on {@code executor}. */
  static Tape on(Executor executor) {
    return new Tape(executor, null, false);
  }

  /**
   * A tape for a region whose leaves are what {@code enclosing} tracks.
   *
   * @param dry whether only to find out what depends on what, and to save nothing
   */
  static Tape inside(Tape enclosing, Executor executor, boolean dry) {
    return new Tape(executor, enclosing, dry);
  }

  /** Whether this tape saves nothing. */
  boolean isDry() {
    return dry;
  }

  /** The leaves that were found, in the order of their first use. */
  List<Tensor> captured() {
    return captured;
  }

  /** Tracks a tensor; its slot. */
  int track(Tensor t) {
    int slot = slots.get(t.id());
    if (slot < 0) {
      slot = count++;
      slots.put(t.id(), slot);
      if (count > grads.length) {
        grads = Arrays.copyOf(grads, 2 * count);
        owned = Arrays.copyOf(owned, 2 * count);
        outside = Arrays.copyOf(outside, 2 * count);
      }
    }
    return slot;
  }

  /** The slot of a tensor, or -1 if nothing tracked went into it. */
  int slot(Tensor t) {
    int slot = slots.get(t.id());
    if (slot < 0 && enclosing != null) {
      int further = enclosing.slot(t);
      if (further >= 0) {
        captured.add(t);
        slot = track(t);
        outside[slot] = 1 + further;
      }
    }
    return slot;
  }

  /** Notes that {@code outputs} came from {@code inputs}, some of which are tracked. */
  void record(
      String name,
      Node.Pullback pullback,
      Tensor[] inputs,
      int[] in,
      Tensor[] outputs,
      Saved saved) {
    int[] out = new int[outputs.length];
    for (int i = 0; i < out.length; i++) {
      out[i] = outputs[i].dtype().isFloating() ? track(outputs[i]) : -1;
    }
    if (!dry) {
      nodes.add(new Node(name, pullback, inputs, in, outputs, out, saved));
    }
  }

  /**
   * Gradients of {@code Σ roots · seeds}. Consumes the tape.
   *
   * @param roots results of the region; those not tracked count as constants
   * @param seeds gradients of the roots; null counts as zero
   * @param leaves tracked tensors, but not those of the enclosing tape
   * @return the gradients of the leaves, owned by the current scope; null where nothing depends on
   *     the leaf
   */
  @Nullable Tensor[] backward(Tensor[] roots, @Nullable Tensor[] seeds, List<Tensor> leaves) {
    return backward(roots, seeds, leaves, null);
  }

  /**
   * The same, telling a listener of each leaf's gradient once nothing more comes to it.
   *
   * @param complete gets the leaf's number and its gradient, null if nothing depends on the leaf;
   *     called once for each leaf
   */
  @Nullable Tensor[] backward(
      Tensor[] roots,
      @Nullable Tensor[] seeds,
      List<Tensor> leaves,
      @Nullable BiConsumer<Integer, @Nullable Tensor> complete) {
    return Executor.with(
        executor,
        () -> {
          for (int i = 0; i < roots.length; i++) {
            int slot = slot(roots[i]);
            Tensor seed = seeds[i];
            if (slot >= 0 && seed != null) {
              accumulate(slot, seed);
            }
          }
          List<List<Integer>> lasts = complete == null ? List.of() : lastContributions(leaves);
          for (int i = nodes.size(); i >= 0; i--) {
            Node node = i == nodes.size() ? null : nodes.set(i, null);
            if (node != null) {
              step(node);
            }
            if (complete != null) {
              for (int leaf : lasts.get(i)) {
                complete.accept(leaf, grads[slots.get(leaves.get(leaf).id())]);
              }
            }
          }
          return deliver(leaves);
        });
  }

  /**
   * For each node, the leaves that get no gradient from any node before it, which backward visits
   * later; behind the last node those that no node uses.
   */
  private List<List<Integer>> lastContributions(List<Tensor> leaves) {
    int[] first = new int[count];
    Arrays.fill(first, nodes.size());
    for (int i = nodes.size() - 1; i >= 0; i--) {
      Node node = nodes.get(i);
      if (node != null) {
        for (int slot : node.in) {
          if (slot >= 0) {
            first[slot] = i;
          }
        }
      }
    }
    List<List<Integer>> result = new ArrayList<>();
    for (int i = 0; i <= nodes.size(); i++) {
      result.add(new ArrayList<>(0));
    }
    for (int leaf = 0; leaf < leaves.size(); leaf++) {
      result.get(first[slots.get(leaves.get(leaf).id())]).add(leaf);
    }
    return result;
  }

  private void step(Node node) {
    try {
      @Nullable Tensor[] outputs = new Tensor[node.out.length];
      boolean reached = false;
      for (int i = 0; i < outputs.length; i++) {
        outputs[i] = node.out[i] < 0 ? null : grads[node.out[i]];
        reached |= outputs[i] != null;
      }
      if (reached) {
        try (Scope scope = Scope.open()) {
          @Nullable Tensor[] inputs = node.pull(outputs);
          for (int i = 0; i < inputs.length; i++) {
            Tensor g = inputs[i];
            if (g != null && node.in[i] >= 0) {
              accumulate(node.in[i], g);
            }
          }
        }
      }
    } finally {
      node.release();
      for (int slot : node.out) {
        if (slot >= 0) {
          drop(slot);
        }
      }
    }
  }

  private void accumulate(int slot, Tensor g) {
    if (enclosing != null && outside[slot] > 0) {
      enclosing.accumulate(outside[slot] - 1, g);
      return;
    }
    Tensor before = grads[slot];
    if (before != null && owned[slot]) {
      Updates.add(before, g, 1);
      return;
    }
    Tensor sum = before == null ? g : before.add(g);
    sum.storage().retain();
    drop(slot);
    grads[slot] = sum;
    // A sum made here is known to nobody else, unless an outer region recorded it.
    owned[slot] = before != null && !recorded;
  }

  private @Nullable Tensor[] deliver(List<Tensor> leaves) {
    Scope scope = Scope.current();
    @Nullable Tensor[] result = new Tensor[leaves.size()];
    for (int i = 0; i < result.length; i++) {
      int slot = slots.get(leaves.get(i).id());
      Tensor g = slot < 0 ? null : grads[slot];
      if (g != null) {
        g.storage().retain();
        scope.own(g.storage());
      }
      result[i] = g;
    }
    return result;
  }

  private void drop(int slot) {
    Tensor g = grads[slot];
    if (g != null) {
      grads[slot] = null;
      owned[slot] = false;
      g.storage().release();
    }
  }

  /** Lets go of everything. Closing twice does nothing. */
  @Override
  public void close() {
    for (int i = nodes.size() - 1; i >= 0; i--) {
      Node node = nodes.set(i, null);
      if (node != null) {
        node.release();
      }
    }
    for (int slot = 0; slot < count; slot++) {
      drop(slot);
    }
  }
}
