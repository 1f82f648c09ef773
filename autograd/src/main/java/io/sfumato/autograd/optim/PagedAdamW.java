// SPDX-License-Identifier: Apache-2.0
package io.sfumato.autograd.optim;

import io.sfumato.tensor.Device;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.exec.Backend;
import io.sfumato.tensor.exec.Backends;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * {@link AdamW} whose moments stay in the host's memory while the parameters are on another device
 * (the paged optimizer of QLoRA, Dettmers et al. 2023, <a
 * href="https://arxiv.org/abs/2305.14314">arXiv:2305.14314</a>, section 3). A step copies the
 * moments of some parameters to the device, updates them there and copies them back, then goes on
 * to the next ones: the device holds the moments of one such group at a time, and results are
 * AdamW's bit for bit. On the CPU it is AdamW.
 *
 * <p>A step waits for its copies, so it cannot be part of a recording ({@link Backend#record}).
 */
public final class PagedAdamW extends AdamFamily {
  /** Bytes of moments that are on the device at a time, unless something else is asked for. */
  public static final long GROUP_BYTES = 64L << 20;

  private final long groupBytes;

  /** An optimizer of some parameters; for options see {@link AdamW#options}. */
  public PagedAdamW(Collection<Parameter> parameters, AdamOptions options) {
    this(List.of(ParameterGroup.of(parameters)), options, GROUP_BYTES);
  }

  /**
   * An optimizer of groups.
   *
   * @param groupBytes how many bytes of moments are on the device at a time; a parameter whose own
   *     are more goes alone
   * @throws IllegalArgumentException if they are not positive
   */
  public PagedAdamW(List<ParameterGroup> groups, AdamOptions options, long groupBytes) {
    super(groups, options, true);
    if (groupBytes < 1) {
      throw new IllegalArgumentException("groupBytes must be positive; got " + groupBytes);
    }
    this.groupBytes = groupBytes;
  }

  @Override
  Map<String, TensorSpec> stateOf(TensorSpec value) {
    TensorSpec host = new TensorSpec(value.shape(), value.dtype(), Device.CPU);
    return super.stateOf(host);
  }

  @Override
  void update(List<Item> items, double rate, double decay, long step, Pass pass) {
    List<Item> here = new ArrayList<>(); // beside their moments
    List<Item> group = new ArrayList<>();
    long bytes = 0;
    for (Item item : items) {
      if (item.value().device().isCpu()) {
        here.add(item);
        continue;
      }
      long own = 2 * item.value().spec().bytes();
      if (!group.isEmpty() && bytes + own > groupBytes) {
        staged(group, rate, decay, step, pass);
        group.clear();
        bytes = 0;
      }
      group.add(item);
      bytes += own;
    }
    if (!group.isEmpty()) {
      staged(group, rate, decay, step, pass);
    }
    super.update(here, rate, decay, step, pass);
  }

  private void staged(List<Item> group, double rate, double decay, long step, Pass pass) {
    List<Parameter> copies = new ArrayList<>();
    try (Scope scope = Scope.open()) {
      List<Item> onDevice = new ArrayList<>();
      for (Item item : group) {
        Map<String, Parameter> moments = new HashMap<>();
        item.state()
            .forEach(
                (name, moment) -> {
                  if (isMoment(name)) {
                    Parameter copy = new Parameter(name, upload(moment.value(), item.value()));
                    copies.add(copy);
                    moments.put(name, copy);
                  }
                });
        onDevice.add(new Item(item.value(), item.grad(), moments, item.average()));
      }
      super.update(onDevice, rate, decay, step, pass);
      for (int i = 0; i < group.size(); i++) {
        Map<String, Parameter> host = group.get(i).state();
        onDevice
            .get(i)
            .state()
            .forEach((name, copy) -> download(copy.value(), moment(host, name).value()));
      }
    } finally {
      copies.forEach(Parameter::close);
    }
  }

  private static Parameter moment(Map<String, Parameter> host, String name) {
    Parameter p = host.get(name);
    if (p == null) {
      throw new IllegalStateException("no state " + name);
    }
    return p;
  }

  private static Tensor upload(Tensor host, Tensor like) {
    Device device = like.device();
    Tensor copy = Tensor.empty(new TensorSpec(host.shape(), host.dtype(), device));
    Backends.of(device).upload(host.address(), copy.address(), host.spec().bytes());
    return copy;
  }

  private static void download(Tensor copy, Tensor host) {
    Backends.of(copy.device()).download(copy.address(), host.address(), copy.spec().bytes());
    host.storage().changed();
  }
}
