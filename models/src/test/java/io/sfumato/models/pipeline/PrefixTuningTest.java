// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.pipeline;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sfumato.autograd.Autograd;
import io.sfumato.autograd.Gradients;
import io.sfumato.models.adapter.PrefixTuning;
import io.sfumato.models.adapter.Targets;
import io.sfumato.models.nn.Attention;
import io.sfumato.models.nn.Context;
import io.sfumato.models.nn.Linear;
import io.sfumato.models.nn.Module;
import io.sfumato.models.text.CLIPTextModel;
import io.sfumato.tensor.Parameter;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.io.Weights;
import io.sfumato.tensor.ops.AttentionOptions;
import io.sfumato.tensor.ops.Num;
import io.sfumato.tensor.ops.Shaping;
import io.sfumato.tensor.ops.Updates;
import java.util.Arrays;
import java.util.List;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/** Prefixes in the attentions of all models: PEFT judges those of the prior of codes. */
class PrefixTuningTest {
  private static final class Cross extends Module {
    final Attention attention;

    Cross(Integer context) {
      super(Weights.init(Rng.seed(1)));
      attention = child("attn", w -> new Attention(w, Attention.of(12, 3, 4).context(context)));
    }

    Tensor project(String layer, Tensor states) {
      Linear linear = (Linear) attention.children().get(layer);
      assertNotNull(linear);
      return linear.call(states);
    }
  }

  /** A prefix of the keys and values of other states is a context that has those before its own. */
  @Test
  void aPrefixIsMoreContext() {
    try (Cross net = new Cross(10);
        PrefixTuning prefix =
            PrefixTuning.attach(net, Targets.all(), PrefixTuning.tokens(3), Rng.seed(2));
        Scope scope = Scope.open()) {
      Tensor x = Rng.seed(3).normal(2, 5, 12);
      Tensor states = Rng.seed(4).normal(2, 4, 10);
      Tensor more = Rng.seed(5).normal(1, 3, 10);
      Tensor rows =
          Shaping.concat(2, net.project("to_k", more), net.project("to_v", more)).reshape(3, 24);
      Updates.copy(prefix.parameters().getFirst().value(), rows);
      Tensor longer = Shaping.concat(1, Shaping.concat(0, more, more), states);
      Tensor keep = Tensor.of(new long[] {1, 0, 1, 1, 1, 1, 0, 0}, 2, 4);
      Tensor all = Shaping.concat(1, Tensor.of(new long[] {1, 1, 1, 1, 1, 1}, 2, 3), keep);
      for (boolean masked : new boolean[] {false, true}) {
        Context context = Context.of(states, masked ? keep : null);
        Context whole = Context.of(longer, masked ? all : null);
        Tensor expected = prefix.without(() -> net.attention.call(x, whole));
        assertArrayEquals(
            expected.toFloatArray(), net.attention.call(x, context).toFloatArray(), 1e-5f);
        // what was prepared for many steps holds
        assertArrayEquals(
            expected.toFloatArray(),
            net.attention.call(x, context.prepare(net)).toFloatArray(),
            1e-5f);
      }
    }
  }

  /** All of the prefix is seen, of the tokens those that causality or a mask leaves. */
  @Test
  void whatTokensSeeOfEachOtherStays() {
    try (Cross net = new Cross(null);
        PrefixTuning prefix =
            PrefixTuning.attach(net, Targets.all(), PrefixTuning.tokens(2), Rng.seed(2));
        Scope scope = Scope.open()) {
      Tensor x = Rng.seed(3).normal(1, 4, 12);
      double[] lower = new double[16];
      Arrays.setAll(lower, i -> i % 4 <= i / 4 ? 1 : 0);
      Tensor keep = Num.gt(Tensor.of(lower, 4, 4), 0);
      Tensor causal = net.attention.call(x, AttentionOptions.of().causal(true));
      Tensor masked = net.attention.call(x, AttentionOptions.of().mask(keep));
      assertArrayEquals(causal.toFloatArray(), masked.toFloatArray(), 1e-6f);
      assertFalse(Arrays.equals(causal.toFloatArray(), net.attention.call(x).toFloatArray()));
      // the first token sees itself and the prefix alone, whatever follows
      Tensor first = net.attention.call(x.slice(1, 0, 1));
      assertArrayEquals(
          first.toFloatArray(), causal.slice(1, 0, 1).contiguous().toFloatArray(), 1e-6f);
      assertTrue(prefix.isOn());
    }
  }

  @Test
  void everyModelsAttentionsTakeOne() {
    try (LatentDiffusion clip = TinyPipelines.clip();
        LatentDiffusion dit = TinyPipelines.transformer();
        Scope scope = Scope.open()) {
      Tensor x = Rng.seed(3).normal(2, 4, 8, 8);
      double[] t = {3, 700};
      Tensor context = Rng.seed(4).normal(2, 5, TinyPipelines.TEXT);
      Tensor labels = Tensor.of(new long[] {1, 3}, 2);
      CLIPTextModel encoder = ((Conditioner.Clip) clip.conditioner()).model();
      Tensor ids = Tensor.of(new long[] {780, 9, 781, 780, 7, 781}, 2, 3);
      for (Parameter p : dit.backbone().module().parameters()) {
        // adaLN-Zero starts as the identity, which no attention would change
        Updates.copy(p.value(), p.value().add(Rng.seed(9).fork(p.name()).normal(p.value().spec())));
      }
      Module unet = clip.backbone().module();
      // 8 channels of the outer blocks, 16 of the middle one: prefixes of one shape each
      check(
          unet,
          List.of("down_blocks.**.attn2", "up_blocks.**.attn2"),
          () -> clip.backbone().network().call(x, t, context));
      check(
          unet,
          List.of("down_blocks.**.attn1"),
          () -> clip.backbone().network().call(x, t, context));
      check(
          dit.backbone().module(),
          List.of("**"),
          () -> dit.backbone().network().call(x, t, labels));
      check(encoder, List.of("**.self_attn"), () -> encoder.call(ids));
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class,
              () ->
                  PrefixTuning.attach(
                      unet, Targets.glob("**.attn2"), PrefixTuning.tokens(1), Rng.seed(1)));
      assertTrue(e.getMessage().contains("one shape"), e.getMessage());
    }
  }

  private static void check(Module model, List<String> targets, Supplier<Tensor> output) {
    Tensor plain = output.get();
    PrefixTuning.Options options = PrefixTuning.tokens(3).projection(5);
    try (PrefixTuning prefix =
        PrefixTuning.attach(
            model, Targets.glob(targets.toArray(String[]::new)), options, Rng.seed(7))) {
      assertFalse(Arrays.equals(plain.toFloatArray(), output.get().toFloatArray()), "it acts");
      assertArrayEquals(plain.toFloatArray(), prefix.without(output).toFloatArray());
      Gradients gradients =
          Autograd.valueAndGrad(prefix.parameters(), () -> Num.mean(Num.square(output.get())))
              .gradients();
      assertEquals(prefix.parameters().size(), gradients.asMap().size());
      for (Tensor g : gradients.asMap().values()) {
        assertTrue(Num.sum(Num.abs(g)).item() > 0);
      }
    }
    assertArrayEquals(plain.toFloatArray(), output.get().toFloatArray());
  }
}
