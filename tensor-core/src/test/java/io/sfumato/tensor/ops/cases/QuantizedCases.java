// SPDX-License-Identifier: Apache-2.0
package io.sfumato.tensor.ops.cases;

import static io.sfumato.tensor.ops.cases.ErrorCase.f32;
import static io.sfumato.tensor.ops.cases.ErrorCase.spec;
import static io.sfumato.tensor.ops.cases.Input.normal;

import io.sfumato.tensor.DType;
import io.sfumato.tensor.Shape;
import io.sfumato.tensor.TensorSpec;
import io.sfumato.tensor.ops.CodeTables;
import io.sfumato.tensor.ops.Coding;
import io.sfumato.tensor.ops.ConvOptions;
import io.sfumato.tensor.ops.DecodeBytes;
import io.sfumato.tensor.ops.Dequantize;
import io.sfumato.tensor.ops.EncodeBytes;
import io.sfumato.tensor.ops.QuantizedConv2d;
import io.sfumato.tensor.ops.QuantizedLinear;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Coded weights: both schemes and coded scales; blocks that end inside a row, at its end and after
 * it; odd numbers of elements; few rows and many. Inputs of 16 bits have tests of their own, for a
 * device may round the decoded weight to their type.
 */
final class QuantizedCases implements CaseTable {
  private static final Coding.Nested NESTED = new Coding.Nested(64, 1.5f);

  @Override
  public List<OpCase> cases() {
    List<OpCase> cases = new ArrayList<>();
    for (Coding coding :
        List.of(four(32, 8, 16), four(64, 5, 7), nested(32, 9, 31), eight(4, 9), eight(3, 2, 5))) {
      cases.add(OpCase.of(text(coding), new Dequantize(coding, DType.F32), parts(coding)).noHalf());
    }
    Coding half = nested(32, 6, 33);
    cases.add(OpCase.of("to bf16", new Dequantize(half, DType.BF16), parts(half)).noHalf());
    cases.add(OpCase.of("to f64", new Dequantize(half, DType.F64), parts(half)).dtypes(DType.F64));
    Coding many = nested(32, 150, 130);
    cases.add(OpCase.of("many", new Dequantize(many, DType.F32), parts(many)).noHalf());
    linear(cases);
    convolution(cases);
    bytes(cases);
    return cases;
  }

  private static void bytes(List<OpCase> cases) {
    EncodeBytes encode = new EncodeBytes(64);
    DecodeBytes decode = new DecodeBytes(64);
    for (boolean signed : new boolean[] {true, false}) {
      Input table = table(CodeTables.dynamic(signed));
      Input x = (signed ? Input.normal(9, 31) : Input.positive(9, 31)).as(DType.F32);
      cases.add(OpCase.of("signed " + signed, encode, x, table).noHalf());
      Input codes = Input.integers(256, 9, 31).as(DType.U8);
      Input magnitudes = Input.positive(5).as(DType.F32);
      cases.add(OpCase.of("signed " + signed, decode, codes, magnitudes, table).noHalf());
    }
    double[] special = new double[130];
    for (int i = 64; i < special.length; i++) {
      special[i] = i % 3 == 0 ? -1e-9 : i % 3 == 1 ? 0 : 1e-9;
    }
    special[128] = -2;
    Input few = Input.values(special, 130).as(DType.F32);
    Input table = table(CodeTables.dynamic(true));
    cases.add(OpCase.of("zeros and signs", encode, few, table).noHalf().noEmpty());
  }

  private static void linear(List<OpCase> cases) {
    for (Coding c : List.of(four(32, 5, 8), four(64, 5, 7), nested(32, 3, 33), eight(5, 8))) {
      int out = c.shape().dim(0);
      int in = c.shape().dim(1);
      cases.add(layer(text(c), c, false, normal(2, 4, in), normal(out)).withSecondOrder());
      cases.add(layer(text(c), c, true, normal(2, 4, out), normal(in)));
      cases.add(layer("no bias, " + text(c), c, false, normal(4, in), null));
    }
    for (Coding c : List.of(four(64, 67, 129), nested(64, 70, 64), eight(67, 37))) {
      int out = c.shape().dim(0);
      int in = c.shape().dim(1);
      for (int rows : new int[] {1, 19}) {
        String name = rows + " rows, " + text(c);
        cases.add(layer(name, c, false, normal(rows, in), normal(out)));
        cases.add(layer(name, c, true, normal(rows, out), null));
      }
    }
    Coding long1 = four(128, 3, 600);
    cases.add(layer("long sums", long1, false, normal(2, 600), normal(3)));
    cases.add(layer("vector", four(32, 4, 6), false, normal(6), normal(4)).noEmpty());
  }

  private static OpCase layer(
      String name, Coding coding, boolean adjoint, Input x, @Nullable Input bias) {
    List<Input> in = new ArrayList<>(List.of(parts(coding)));
    in.addFirst(x);
    if (bias != null) {
      in.add(bias);
    }
    String how = adjoint ? ", adjoint" : "";
    QuantizedLinear op = new QuantizedLinear(coding, adjoint, bias != null);
    return OpCase.of(name + how, op, in.toArray(Input[]::new))
        .constants(constants(coding))
        .noHalf();
  }

  private static void convolution(List<OpCase> cases) {
    ConvOptions same = ConvOptions.of().padding(1).resolved(2);
    for (Coding c : List.of(four(64, 4, 3, 3, 3), nested(32, 4, 3, 3, 3), eight(4, 3, 3, 3))) {
      cases.add(convolution(text(c), c, same, normal(2, 3, 5, 4), true));
    }
    ConvOptions two = ConvOptions.of().stride(2).groups(2).resolved(2);
    cases.add(convolution("groups", four(32, 6, 2, 2, 1), two, normal(1, 4, 5, 5), false));
    ConvOptions plain = ConvOptions.of().resolved(2);
    cases.add(convolution("1 x 1", eight(7, 5, 1, 1), plain, normal(3, 5, 4, 4), true));
  }

  private static OpCase convolution(
      String name, Coding coding, ConvOptions options, Input x, boolean bias) {
    List<Input> in = new ArrayList<>(List.of(parts(coding)));
    in.addFirst(x);
    if (bias) {
      in.add(normal(coding.shape().dim(0)));
    }
    QuantizedConv2d op = new QuantizedConv2d(coding, options, bias);
    return OpCase.of(name, op, in.toArray(Input[]::new)).constants(constants(coding)).noHalf();
  }

  private static String text(Coding coding) {
    return coding.scheme()
        + (coding.nested() == null ? "" : " nested")
        + " "
        + coding.shape()
        + (coding.block() == 0 ? "" : " by " + coding.block());
  }

  private static Coding four(int block, int... shape) {
    return Coding.fourBit(Shape.of(shape), block);
  }

  private static Coding nested(int block, int... shape) {
    return Coding.fourBit(Shape.of(shape), block, NESTED);
  }

  private static Coding eight(int... shape) {
    return Coding.rowsInt8(Shape.of(shape));
  }

  private static Integer[] constants(Coding coding) {
    Integer[] numbers = new Integer[coding.parts()];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = i + 1;
    }
    return numbers;
  }

  private static Input[] parts(Coding coding) {
    if (coding.scheme() == Coding.Scheme.ROWS_INT8) {
      Input codes = Input.integers(256, coding.shape().dims()).as(DType.U8);
      return new Input[] {codes, Input.positive(coding.shape().dim(0)).as(DType.F32)};
    }
    int blocks = (int) coding.blocks();
    Input codes = Input.integers(256, (int) ((coding.shape().numel() + 1) / 2), 1).as(DType.U8);
    Input table = table(CodeTables.nf4());
    if (coding.nested() == null) {
      return new Input[] {codes, Input.positive(blocks).as(DType.F32), table};
    }
    int outer = (blocks + NESTED.block() - 1) / NESTED.block();
    return new Input[] {
      codes,
      Input.integers(256, blocks).as(DType.U8),
      table,
      Input.positive(outer).as(DType.F32),
      table(CodeTables.dynamic(true))
    };
  }

  private static Input table(float[] values) {
    double[] wide = new double[values.length];
    for (int i = 0; i < wide.length; i++) {
      wide[i] = values[i];
    }
    return Input.values(wide, wide.length).as(DType.F32);
  }

  @Override
  public List<ErrorCase> errors() {
    TensorSpec scales = f32(2);
    TensorSpec table = f32(16);
    Coding c = four(64, 8, 9);
    Dequantize values = new Dequantize(c, DType.F32);
    QuantizedLinear linear = new QuantizedLinear(c, false, true);
    TensorSpec codes = spec(DType.U8, 36, 1);
    return List.of(
        ErrorCase.of(values, List.of(f32(36, 1), scales, table), "codes must be u8"),
        ErrorCase.of(
            values,
            List.of(spec(DType.U8, 35, 1), scales, table),
            "codes of a weight [8, 9] must be 36 bytes"),
        ErrorCase.of(values, List.of(codes, f32(3), table), "scales must have shape [2]"),
        ErrorCase.of(values, List.of(codes, spec(DType.F64, 2), table), "scales must be f32"),
        ErrorCase.of(values, List.of(codes, scales, f32(15)), "table must have shape [16]"),
        ErrorCase.of(
            new Dequantize(c, DType.I32), List.of(codes, scales, table), "must be floating"),
        ErrorCase.of(
            new Dequantize(nested(64, 8, 9), DType.F32),
            List.of(codes, spec(DType.U8, 2), table, f32(1), f32(255)),
            "table of scales must have shape [256]"),
        ErrorCase.of(
            new Dequantize(eight(8, 9), DType.F32),
            List.of(spec(DType.U8, 9, 8), f32(8)),
            "codes must have shape of the weight"),
        ErrorCase.of(
            new Dequantize(eight(8, 9), DType.F32),
            List.of(spec(DType.U8, 8, 9), f32(9)),
            "row magnitudes must have shape [8]"),
        ErrorCase.of(
            linear,
            List.of(f32(2, 8), codes, scales, table, f32(8)),
            "the last axis of the input must have 9 elements"),
        ErrorCase.of(
            linear,
            List.of(f32(2, 9), codes, scales, table, f32(9)),
            "bias must have shape [out] = [8]"),
        ErrorCase.of(
            linear,
            List.of(f32(2, 9), codes, scales, table, spec(DType.BF16, 8)),
            "bias must have the type of the input"),
        ErrorCase.of(
            linear,
            List.of(spec(DType.I64, 2, 9), codes, scales, table, f32(8)),
            "input must be floating"),
        ErrorCase.of(
            new QuantizedLinear(four(32, 8), false, false),
            List.of(f32(2, 8), spec(DType.U8, 4, 1), f32(1), table),
            "weight must have shape [out, in]"),
        ErrorCase.of(
            new QuantizedConv2d(eight(4, 3, 1, 1), ConvOptions.of().resolved(2), false),
            List.of(f32(2, 5, 4, 4), spec(DType.U8, 4, 3, 1, 1), f32(4)),
            "in/groups"),
        ErrorCase.of(
            new EncodeBytes(64), List.of(f32(65), f32(255)), "table must have shape [256]"),
        ErrorCase.of(new EncodeBytes(64), List.of(spec(DType.F64, 65), f32(256)), "must be f32"),
        ErrorCase.of(
            new DecodeBytes(64),
            List.of(spec(DType.U8, 65), f32(1), f32(256)),
            "magnitudes must have shape [blocks] = [2]"),
        ErrorCase.of(new DecodeBytes(64), List.of(f32(65), f32(2), f32(256)), "codes must be u8"));
  }
}
