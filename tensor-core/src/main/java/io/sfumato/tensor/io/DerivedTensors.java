// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.io;

import io.sfumato.tensor.Shape;
import io.sfumato.tensor.Tensor;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * A view of another source: its tensors under other names or in other shapes, and tensors that are
 * made of them when they are read.
 *
 * {@snippet :
 * DerivedTensors view = DerivedTensors.of(source);
 * view.add("to_q.weight", "query.weight");
 * view.add("proj.weight", Shape.of(64, 64), "proj.weight");   // [64, 64, 1, 1] in the file
 * view.add(entry, s -> Shaping.concat(0, s.read("k"), s.read("v")));
 * }
 */
public final class DerivedTensors implements TensorSource {
  /** Makes a tensor when it is read. */
  @FunctionalInterface
  public interface Value {
    /** The tensor, in the current scope, of the tensors of {@code source}. */
    Tensor read(TensorSource source);
  }

  /**
   * One tensor.
   *
   * @param entry what is told of it
   * @param value makes it
   * @param stored the name in the source of what is there bit for bit; null of what is made
   */
  private record Derived(TensorEntry entry, Value value, @Nullable String stored) {
    String origin() {
      return stored == null ? "what is derived" : HeaderJson.quoted(stored);
    }
  }

  private final TensorSource source;
  private final boolean owns;
  private final Map<String, Derived> tensors = new LinkedHashMap<>();
  private final Map<String, TensorEntry> entries = new LinkedHashMap<>();

  private DerivedTensors(TensorSource source, boolean owns) {
    this.source = source;
    this.owns = owns;
  }

  /** A view without tensors yet; closing it closes {@code source}. */
  public static DerivedTensors of(TensorSource source) {
    return new DerivedTensors(source, true);
  }

  /** A view without tensors yet; closing it leaves {@code source} open. */
  public static DerivedTensors borrowing(TensorSource source) {
    return new DerivedTensors(source, false);
  }

  /** All tensors under names by a rule; closing the view closes {@code source}. */
  static DerivedTensors renamed(TensorSource source, UnaryOperator<String> rule) {
    DerivedTensors view = of(source);
    source.entries().keySet().forEach(stored -> view.add(rule.apply(stored), stored));
    return view;
  }

  /**
   * Adds a stored tensor as it is.
   *
   * @throws WeightsException if the source has none called {@code stored}, or the view has one
   *     called {@code name}
   */
  public void add(String name, String stored) {
    put(new Derived(entry(stored).named(name), s -> s.read(stored), stored));
  }

  /**
   * Adds a stored tensor in another shape.
   *
   * @throws WeightsException if the source has none called {@code stored}, or the view has one
   *     called {@code name}
   */
  public void add(String name, Shape shape, String stored) {
    TensorEntry old = entry(stored);
    List<Long> dims = Arrays.stream(shape.dims()).mapToObj(Long::valueOf).toList();
    add(
        new TensorEntry(name, old.type(), dims, old.begin(), old.end()),
        s -> s.read(stored).reshape(shape.dims()));
  }

  /**
   * Adds a tensor that is made of others.
   *
   * @param entry its name, type and dimensions
   * @param value makes it when it is read
   * @throws WeightsException if the view has one of this name
   */
  public void add(TensorEntry entry, Value value) {
    put(new Derived(entry, value, null));
  }

  private void put(Derived derived) {
    String name = derived.entry.name();
    Derived other = tensors.putIfAbsent(name, derived);
    if (other != null) {
      throw new WeightsException(
          description()
              + ": tensors "
              + other.origin()
              + " and "
              + derived.origin()
              + " would both be called "
              + HeaderJson.quoted(name));
    }
    entries.put(name, derived.entry);
  }

  private TensorEntry entry(String stored) {
    TensorEntry entry = source.entries().get(stored);
    if (entry == null) {
      throw missing(stored);
    }
    return entry;
  }

  private WeightsException missing(String name) {
    return new WeightsException(description() + ": there is no tensor " + HeaderJson.quoted(name));
  }

  @Override
  public String description() {
    return source.description();
  }

  @Override
  public Map<String, TensorEntry> entries() {
    return Collections.unmodifiableMap(entries);
  }

  @Override
  public Map<String, String> metadata() {
    return source.metadata();
  }

  @Override
  public Tensor read(String name) {
    return derived(name).value.read(source);
  }

  @Override
  public Tensor readBytes(String name) {
    String stored = derived(name).stored;
    if (stored == null) {
      throw new UnsupportedOperationException(
          description() + " does not give bytes of " + HeaderJson.quoted(name) + ", which is made");
    }
    return source.readBytes(stored);
  }

  private Derived derived(String name) {
    Derived derived = tensors.get(name);
    if (derived == null) {
      throw missing(name);
    }
    return derived;
  }

  @Override
  public void close() {
    if (owns) {
      source.close();
    }
  }
}
