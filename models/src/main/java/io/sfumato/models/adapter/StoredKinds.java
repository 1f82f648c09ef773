// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.adapter;

import io.sfumato.models.nn.Conv2d;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Norm;
import io.sfumato.models.nn.WeightLayer;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.io.DerivedTensors;
import io.sfumato.tensor.io.TensorSource;
import java.util.Map;
import java.util.Set;

/** What kind of adapter the factors of one layer are, told from their names and shapes. */
final class StoredKinds {
  private final WeightLayer layer;
  private final Map<String, String> factors; // our name -> the file's key
  private final TensorSource source;
  private final AdapterFile.ScaleRule rule;

  private StoredKinds(
      WeightLayer layer,
      Map<String, String> factors,
      TensorSource source,
      AdapterFile.ScaleRule rule) {
    this.layer = layer;
    this.factors = factors;
    this.source = source;
    this.rule = rule;
  }

  /**
   * The kind of one layer.
   *
   * @param factors the file's keys by our name of the factor
   * @param placed gets the factors under our names, in the shapes that the kind asks for
   */
  static AdapterKind of(
      WeightLayer layer,
      Map<String, String> factors,
      TensorSource source,
      DerivedTensors placed,
      AdapterFile.ScaleRule rule) {
    StoredKinds stored = new StoredKinds(layer, factors, source, rule);
    AdapterKind kind =
        StoredValues.about(
            layer.path(), () -> StoredValues.about(source.description(), stored::kind));
    String reason = kind.refuses(layer);
    if (layer instanceof Norm && !kind.adaptsNorms()) {
      reason = "it is a normalisation";
    }
    if (reason != null) {
      throw new IllegalArgumentException(
          source.description() + ": " + layer.path() + " cannot have " + kind + ": " + reason);
    }
    factors.forEach(
        (factor, key) -> {
          if (!factor.equals("alpha") && !factor.equals("on_input") && !factor.equals("scalar")) {
            placed.add(layer.path() + "." + factor, stored.fitted(factor), key);
          }
        });
    return kind;
  }

  private AdapterKind kind() {
    if (has("lora_A.weight")) {
      return lora();
    }
    if (has("lora_embedding_A")) {
      int r = matrix("lora_embedding_A").dim(0);
      return Lora.rank(r).alpha(alpha(r));
    }
    if (has("hada_w1_a")) {
      int r = matrix("hada_w1_b").dim(0);
      return Loha.rank(r).alpha(alpha(r)).effectiveConv(has("hada_t1"));
    }
    if (has("lokr_w1") || has("lokr_w1_a")) {
      return lokr();
    }
    if (has("ia3_l")) {
      return new Ia3(shape("ia3_l").dim(0) == 1 && shape("ia3_l").rank() == 2);
    }
    if (has("diff")) {
      return new FullDifference(has("diff_b"));
    }
    if (has("w_norm")) {
      return new NormDifference();
    }
    if (has("a1.weight")) {
      int r = matrix("a2.weight").dim(0);
      return new Glora(r, alpha(r), has("bm.weight"));
    }
    if (has("oft_blocks")) {
      Shape blocks = matrix("oft_blocks");
      if (blocks.rank() != 3 && blocks.rank() != 4) {
        throw new IllegalArgumentException(
            source.description()
                + ": "
                + key("oft_blocks")
                + " must be [blocks, b, b] or [factors, blocks, b, b]; it is "
                + blocks);
      }
      double constraint = has("alpha") ? number("alpha") * layer.weight().value().dim(0) : 0;
      return blocks.rank() == 4
          ? new LycorisBoft(blocks.dim(0), blocks.dim(1), blocks.dim(2), constraint, has("rescale"))
          : new DiagOft(blocks.dim(0), blocks.dim(1), constraint, has("rescale"));
    }
    if (has("weight") && has("on_input")) {
      return new LycorisIa3(number("on_input") != 0);
    }
    throw new IllegalArgumentException(
        source.description()
            + ": the tensors of "
            + layer.path()
            + " are of no known kind: "
            + factors.values());
  }

  private AdapterKind lora() {
    refuseScalar();
    int r = matrix("lora_A.weight").dim(0);
    Lora lora =
        Lora.rank(r)
            .alpha(rule.ready() && has("alpha") ? number("alpha") * r : alpha(r))
            .rankStabilized(rule.rankStabilized())
            .bias(has("lora_B.bias"))
            .tucker(has("lora_mid.weight"));
    if (!has("lora_magnitude_vector")) {
      return lora;
    }
    return new Dora(lora, overInputs());
  }

  /**
   * Whose norms a magnitude is: LyCORIS's [out, 1, …] and PEFT's [out] or [1, out, 1, 1] of output
   * rows, LyCORIS's [1, in, …] of input columns.
   */
  private boolean overInputs() {
    String key = key("lora_magnitude_vector");
    Shape m = shape("lora_magnitude_vector");
    int out = layer.weight().value().dim(0);
    int in = layer.weight().value().dim(1);
    boolean ofRow = m.rank() > 1 && m.dim(0) == 1 && m.dim(1) == m.numel();
    if (ofRow && m.numel() == in && key.endsWith(".dora_scale")) {
      return true;
    }
    if (m.numel() != out || (m.rank() > 1 && m.dim(0) != out && !ofRow)) {
      throw new IllegalArgumentException(
          source.description()
              + ": "
              + key
              + " has shape "
              + m
              + ", which is neither one factor for each of the "
              + out
              + " outputs nor, as dora_scale, [1, "
              + in
              + ", …] for the inputs");
    }
    return false;
  }

  /** LyCORIS forces the scale 1 where neither factor is decomposed, whatever alpha says. */
  private AdapterKind lokr() {
    refuseScalar();
    boolean full1 = has("lokr_w1");
    boolean full2 = has("lokr_w2");
    int out1 = full1 ? matrix("lokr_w1").dim(0) : matrix("lokr_w1_a").dim(0);
    int in1 = full1 ? matrix("lokr_w1").dim(1) : matrix("lokr_w1_b").dim(1);
    Shape w = layer.weight().value().shape();
    if (w.dim(0) % out1 != 0 || w.dim(1) % in1 != 0) {
      throw new IllegalArgumentException(
          source.description()
              + ": W1 of "
              + layer.path()
              + ", "
              + out1
              + " x "
              + in1
              + ", does not divide the weight "
              + w);
    }
    int r = full1 ? full2 ? 1 : matrix("lokr_w2_b").dim(0) : matrix("lokr_w1_b").dim(0);
    double scale = full1 && full2 ? 1 : alpha(r) / r;
    Lokr.Plan plan =
        new Lokr.Plan(
            new int[] {out1, w.dim(0) / out1},
            new int[] {in1, w.dim(1) / in1},
            r,
            full1,
            full2,
            has("lokr_t2"));
    return new Lokr.Stored(plan, scale);
  }

  private void refuseScalar() {
    if (has("scalar") && number("scalar") != 1) {
      throw new IllegalArgumentException(
          source.description() + ": " + factors.get("scalar") + " is not 1; fold it into a factor");
    }
  }

  private double alpha(double rank) {
    return has("alpha") ? number("alpha") : rule.alphaOf(layer.path(), rank);
  }

  private boolean has(String factor) {
    return factors.containsKey(factor);
  }

  private String key(String factor) {
    String key = factors.get(factor);
    if (key == null) {
      throw new IllegalArgumentException(
          source.description() + ": " + layer.path() + " lacks its factor " + factor);
    }
    return key;
  }

  private Shape shape(String factor) {
    return AdapterFile.shape(source, key(factor));
  }

  /** The shape of a factor that must be a matrix or have more axes, none of them empty. */
  private Shape matrix(String factor) {
    Shape shape = shape(factor);
    if (shape.rank() < 2 || shape.numel() == 0) {
      throw new IllegalArgumentException(
          source.description() + ": " + key(factor) + " must be a matrix; it is " + shape);
    }
    return shape;
  }

  private double number(String factor) {
    return AdapterFile.number(source, key(factor));
  }

  private static final Set<String> PRODUCTS = Set.of("lora_A.weight", "lora_B.weight");

  /** The shape that the kind asks for, where files differ in axes of size one. */
  private Shape fitted(String factor) {
    Shape stored = shape(factor);
    if (PRODUCTS.contains(factor) && layer instanceof Linear && stored.rank() == 4) {
      return Shape.of(stored.dim(0), (int) (stored.numel() / Math.max(1, stored.dim(0))));
    }
    if (PRODUCTS.contains(factor) && layer instanceof Conv2d && stored.rank() == 2) {
      return Shape.of(stored.dim(0), stored.dim(1), 1, 1);
    }
    if (factor.equals("lora_magnitude_vector")) {
      int n = (int) stored.numel();
      return layer instanceof Conv2d
          ? Shape.of(1, n, 1, 1)
          : overInputs() ? Shape.of(1, n) : Shape.of(n);
    }
    return stored;
  }
}
