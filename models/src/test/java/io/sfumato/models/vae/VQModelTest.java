// SPDX-License-Identifier: Apache-2.0
package io.sfumato.models.vae;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.sfumato.tensor.DTypeException;
import io.sfumato.tensor.Rng;
import io.sfumato.tensor.Scope;
import io.sfumato.tensor.ShapeException;
import io.sfumato.tensor.Tensor;
import io.sfumato.tensor.cpu.CpuBackend;
import io.sfumato.tensor.io.Weights;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class VQModelTest {
  private static VQModelConfig.Builder small() {
    return VQModelConfig.builder()
        .imageChannels(1)
        .levels(List.of(4, 8))
        .normNumGroups(2)
        .latentChannels(3)
        .codebook(5, 2);
  }

  @Test
  void theModelHasTheReferencesNamesAndShapes() throws IOException {
    Map<String, String> expected = new TreeMap<>();
    try (var lines = Files.lines(Path.of("src/test/resources/keys/vq_model.txt"))) {
      lines.forEach(l -> expected.put(l.split("\t")[0], l.split("\t")[1]));
    }
    VQModelConfig config =
        VQModelConfig.builder()
            .levels(List.of(128, 256, 512))
            .layersPerBlock(2)
            .codebook(8192, 3)
            .build();
    long before = CpuBackend.instance().memory().live();
    try (Scope scope = Scope.open();
        VQModel model = new VQModel(Weights.meta(), config)) {
      assertEquals(before, CpuBackend.instance().memory().live(), "no memory");
      assertEquals(expected, AutoencoderKLTest.shapes(model.parameters()));
      assertEquals(205, model.parameters().size());
      assertEquals(55_322_782, model.parameterCount());
    }
  }

  @Test
  void codesMayHaveAnotherWidthThanTheLatent() {
    try (VQModel model = new VQModel(Weights.init(Rng.seed(0)), small().build());
        Scope scope = Scope.open()) {
      VQModel.Decoded decoded = model.call(Rng.seed(1).normal(2, 1, 8, 6));
      assertEquals("[2, 1, 8, 6]", decoded.sample().shape().toString());
      assertEquals("[2, 4, 3]", decoded.indices().shape().toString());
      assertEquals("[]", decoded.loss().shape().toString());
      for (float v : model.quantizer().codes().toFloatArray()) {
        assertTrue(Math.abs(v) <= 0.2, "codes start within 1/n");
      }
    }
  }

  @Test
  void decodingWithoutQuantisingTakesWhatTheConfigurationSays() {
    try (VQModel direct = new VQModel(Weights.init(Rng.seed(0)), small().build());
        VQModel lookup =
            new VQModel(Weights.init(Rng.seed(0)), small().lookupFromCodebook(true).build());
        Scope scope = Scope.open()) {
      Tensor indices = Tensor.of(new long[] {0, 4, 2, 1}, 1, 2, 2);
      Tensor codes = direct.quantizer().lookUp(indices);
      float[] expected = direct.decode(codes).sample().toFloatArray();
      assertArrayEquals(expected, direct.decodeDirectly(codes).toFloatArray(), 1e-6f);
      assertArrayEquals(expected, lookup.decodeDirectly(indices).toFloatArray(), 1e-6f);
      assertThrows(ShapeException.class, () -> lookup.decodeDirectly(codes));
      assertThrows(DTypeException.class, () -> lookup.decodeDirectly(Tensor.zeros(1, 2, 2)));
      assertThrows(ShapeException.class, () -> direct.decode(Tensor.zeros(1, 3, 2, 2)));
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "num_vq_embeddings=0",
        "vq_embed_dim=0",
        "norm_type=\"layer\"",
        "norm_type=\"spatial\"",
        "lookup_from_codebook=2",
        "scaling_factor=0",
        "layers_per_block=0",
        "use_quant_conv=true",
        "block_out_channels=[3,8]"
      })
  void aValueThatIsNotHonouredIsRefusedByName(String assignment) throws IOException {
    ObjectMapper mapper = new ObjectMapper();
    ObjectNode json = mapper.valueToTree(small().build().toMap());
    assertEquals(small().build(), VQModelConfig.fromJson(json, "test"));
    String key = assignment.substring(0, assignment.indexOf('='));
    json.set(key, mapper.readTree(assignment.substring(key.length() + 1)));
    var e =
        assertThrows(IllegalArgumentException.class, () -> VQModelConfig.fromJson(json, "test"));
    assertTrue(String.valueOf(e.getMessage()).contains(key), e.getMessage());
  }

  @Test
  void spatialNormsNeedCodesAsWideAsTheLatent() {
    var e =
        assertThrows(
            IllegalArgumentException.class,
            () -> small().levels(List.of(32, 48)).normType("spatial").build());
    String message = String.valueOf(e.getMessage());
    assertTrue(message.contains("vq_embed_dim"), message);
    assertTrue(message.contains("48 must be divisible by 32"), message);
    assertFalse(message.contains("32 must be divisible by 32"), message);
  }
}
