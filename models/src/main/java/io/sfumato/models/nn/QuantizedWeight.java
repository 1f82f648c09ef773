// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.nn;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Device;
import io.sfumato.tensor.Layout;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Storage;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.ops.CodedTensor;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The weight of a layer in few bits, with the tensors a checkpoint has for it. It is frozen: not
 * among the layer's parameters, but among its buffers.
 */
public final class QuantizedWeight implements AutoCloseable {
  private final CodedTensor coded;
  private final String label;
  private final DType dtype;
  private final @Nullable DType computeType;
  private final Map<String, Parameter> buffers = new LinkedHashMap<>();
  private final Parameter placeholder;

  /**
   * Holds the tensors until {@link #close}.
   *
   * @param path the path of the layer
   * @param label what the coding is called, for example {@code nf4}
   * @param coded the codes; its parts are among the buffers
   * @param dtype the floating type that decoded values have
   * @param computeType the type that inputs are brought to for the product, whose result gets their
   *     type again; null for that of the inputs
   * @param buffers all tensors that are saved, by the end of their name
   */
  public QuantizedWeight(
      String path,
      String label,
      CodedTensor coded,
      DType dtype,
      @Nullable DType computeType,
      Map<String, Tensor> buffers) {
    this.coded = coded;
    this.label = label;
    this.dtype = dtype;
    this.computeType = computeType;
    String prefix = path.isEmpty() ? "" : path + ".";
    buffers.forEach((name, value) -> this.buffers.put(name, new Parameter(prefix + name, value)));
    Device device = coded.parts().getFirst().device();
    String why =
        prefix + "weight is quantized (" + label + "): take WeightLayer.weightValues() for values";
    try (Scope scope = Scope.open()) {
      Layout layout = Layout.contiguous(coded.coding().shape());
      Storage nowhere = Storage.withheld(device, why);
      placeholder = new Parameter(prefix + "weight", Tensor.owned(nowhere, layout, dtype, scope));
    }
  }

  /** The codes. */
  public CodedTensor coded() {
    return coded;
  }

  /** What the coding is called. */
  public String label() {
    return label;
  }

  /** The floating type that decoded values have. */
  public DType dtype() {
    return dtype;
  }

  /** The type that inputs are brought to for a product; null for their own. */
  public @Nullable DType computeType() {
    return computeType;
  }

  /** The values, in the current scope. */
  public Tensor values() {
    return coded.dequantize(dtype);
  }

  /** The bytes of all tensors. */
  public long bytes() {
    return buffers.values().stream().mapToLong(p -> p.value().spec().bytes()).sum();
  }

  /** The tensors that are saved, by the end of their name. */
  public Map<String, Parameter> buffers() {
    return Collections.unmodifiableMap(buffers);
  }

  /** Shape, type and device of the weight, without values. */
  Parameter placeholder() {
    return placeholder;
  }

  /** The input in the type of the product. */
  Tensor toCompute(Tensor x) {
    return computeType == null ? x : x.to(computeType);
  }

  @Override
  public void close() {
    buffers.values().forEach(Parameter::close);
    placeholder.close();
  }
}
