// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.exec;

import io.sfumato.tensor.Device;
import io.sfumato.tensor.DeviceException;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.TensorException;
import io.sfumato.tensor.TensorSpec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Runs ops at once: shape rule, outputs in the current scope, kernel. */
public final class Eager implements Executor {
  static final ScopedValue<Executor> CURRENT = ScopedValue.newInstance();

  /** The only instance. */
  public static final Eager INSTANCE = new Eager();

  private Eager() {}

  @Override
  public Tensor[] execute(Op op, Tensor... inputs) {
    try {
      return run(op, inputs);
    } catch (TensorException e) {
      e.in(op.name(), describe(inputs));
      throw e;
    }
  }

  private static Tensor[] run(Op op, Tensor[] inputs) {
    if (op instanceof ViewsOp views) {
      return views(views, inputs[0]);
    }
    List<TensorSpec> specs = new ArrayList<>(inputs.length);
    List<Layout> layouts = new ArrayList<>(inputs.length);
    for (Tensor t : inputs) {
      t.storage().address(); // throws if freed
      specs.add(t.spec());
      layouts.add(t.layout());
    }
    List<TensorSpec> results = op.infer(specs);
    Device device = device(inputs, results);
    Backend backend = Backends.of(device);
    Tensor[] out = new Tensor[results.size()];
    Scope scope = out.length == 0 ? null : Scope.current();
    for (int i = 0; i < out.length; i++) {
      TensorSpec spec = results.get(i);
      Layout layout = op.layout(i, spec, layouts);
      out[i] = Tensor.owned(backend.allocate(spec.bytes()), layout, spec.dtype(), scope);
    }
    backend.launch(op, inputs, out);
    if (op instanceof InPlaceOp inPlace) {
      for (int i : inPlace.mutated()) {
        inputs[i].storage().changed();
      }
    }
    return out;
  }

  private static Tensor[] views(ViewsOp op, Tensor x) {
    List<Layout> layouts = op.views(x.layout());
    Tensor[] out = new Tensor[layouts.size()];
    Arrays.setAll(out, i -> Tensor.view(x, layouts.get(i)));
    return out;
  }

  private static Device device(Tensor[] inputs, List<TensorSpec> results) {
    if (inputs.length == 0) {
      return results.getFirst().device();
    }
    Device device = inputs[0].device();
    for (Tensor t : inputs) {
      if (!t.device().equals(device)) {
        throw new DeviceException("all inputs must be on one device; move them with to(device)");
      }
    }
    return device;
  }

  /** What was given and the module path, for messages. */
  public static String describe(Tensor[] inputs) {
    String path = ModulePath.current();
    String[] specs = new String[inputs.length];
    Arrays.setAll(specs, i -> inputs[i].spec().toString());
    return "got "
        + (specs.length == 0 ? "no inputs" : String.join(", ", specs))
        + (path.isEmpty() ? "" : "; at " + path);
  }
}
