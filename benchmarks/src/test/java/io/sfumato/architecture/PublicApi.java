// SPDX-License-Identifier: Apache-2.0
package io.sfumato.architecture;

import java.io.IOException;
import java.lang.classfile.Attributes;
import java.lang.classfile.ClassFile;
import java.lang.classfile.ClassModel;
import java.lang.classfile.ClassSignature;
import java.lang.classfile.FieldModel;
import java.lang.classfile.MethodModel;
import java.lang.classfile.MethodSignature;
import java.lang.classfile.Signature;
import java.lang.classfile.attribute.ConstantValueAttribute;
import java.lang.classfile.attribute.InnerClassInfo;
import java.lang.classfile.constantpool.ClassEntry;
import java.lang.constant.ClassDesc;
import java.lang.reflect.AccessFlag;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The public API of a module as text, read from its class files: a line for each public or
 * protected class, field, constructor and method of the packages that {@code module-info.java}
 * exports to all. Lines are complete (they name their class), so that a difference is a set of
 * lines.
 */
final class PublicApi {
  private static final Pattern EXPORT = Pattern.compile("(?m)^\\s*exports\\s+([\\w.]+)\\s*;");
  private static final Set<AccessFlag> SHOWN =
      Set.of(AccessFlag.PROTECTED, AccessFlag.STATIC, AccessFlag.ABSTRACT, AccessFlag.FINAL);

  private final Map<String, ClassModel> classes = new TreeMap<>();
  private final Map<String, Set<AccessFlag>> flags = new HashMap<>();
  private final TreeSet<String> lines = new TreeSet<>();

  private PublicApi() {}

  /** The packages that a module exports to all. */
  static Set<String> exports(Path moduleInfo) throws IOException {
    return EXPORT
        .matcher(Files.readString(moduleInfo))
        .results()
        .map(r -> r.group(1))
        .collect(Collectors.toCollection(TreeSet::new));
  }

  /** The lines of the packages, from a folder of class files, sorted. */
  static List<String> of(Path folder, Set<String> packages) throws IOException {
    PublicApi api = new PublicApi();
    for (String name : packages) {
      try (Stream<Path> files = Files.list(folder.resolve(name.replace('.', '/')))) {
        for (Path file : files.filter(f -> f.toString().endsWith(".class")).toList()) {
          api.read(ClassFile.of().parse(file));
        }
      }
    }
    api.classes.values().forEach(api::write);
    return List.copyOf(api.lines);
  }

  private void read(ClassModel model) {
    String name = model.thisClass().asInternalName();
    classes.put(name, model);
    flags.putIfAbsent(name, model.flags().flags());
    model
        .findAttribute(Attributes.innerClasses())
        .ifPresent(
            inner -> {
              for (InnerClassInfo info : inner.classes()) {
                // The flags of a nested class as it was written; the class file itself has others.
                flags.put(info.innerClass().asInternalName(), info.flags());
              }
            });
  }

  private boolean isVisible(ClassModel model) {
    String name = model.thisClass().asInternalName();
    if (name.endsWith("-info") || model.findAttribute(Attributes.enclosingMethod()).isPresent()) {
      return false;
    }
    for (int end = name.length(); end > 0; end = name.lastIndexOf('$', end - 1)) {
      Set<AccessFlag> own = flags.get(name.substring(0, end));
      if (own != null && !isShown(own)) {
        return false;
      }
    }
    return true;
  }

  private static boolean isShown(Set<AccessFlag> flags) {
    boolean visible = flags.contains(AccessFlag.PUBLIC) || flags.contains(AccessFlag.PROTECTED);
    return visible && !flags.contains(AccessFlag.SYNTHETIC) && !flags.contains(AccessFlag.BRIDGE);
  }

  private void write(ClassModel model) {
    if (!isVisible(model)) {
      return;
    }
    String name = name(model.thisClass().asInternalName());
    lines.add(header(model, name));
    for (FieldModel field : model.fields()) {
      if (isShown(field.flags().flags())) {
        lines.add(name + "." + text(field));
      }
    }
    for (MethodModel method : model.methods()) {
      if (isShown(method.flags().flags()) && !isOfEveryRecord(model, method)) {
        lines.add(name + "." + text(model, method));
      }
    }
  }

  private static boolean isOfEveryRecord(ClassModel model, MethodModel method) {
    return model.findAttribute(Attributes.record()).isPresent()
        && Set.of("equals", "hashCode", "toString").contains(method.methodName().stringValue());
  }

  private String header(ClassModel model, String name) {
    Set<AccessFlag> own = flags.get(model.thisClass().asInternalName());
    boolean isInterface = own.contains(AccessFlag.INTERFACE);
    boolean isRecord = model.findAttribute(Attributes.record()).isPresent();
    String kind =
        own.contains(AccessFlag.ANNOTATION)
            ? "annotation"
            : isInterface
                ? "interface"
                : own.contains(AccessFlag.ENUM) ? "enum" : isRecord ? "record" : "class";
    ClassSignature signature =
        model
            .findAttribute(Attributes.signature())
            .map(a -> a.asClassSignature())
            .orElseGet(
                () ->
                    ClassSignature.of(
                        superclass(model),
                        model.interfaces().stream()
                            .map(i -> Signature.ClassTypeSig.of(i.asSymbol()))
                            .toArray(Signature.ClassTypeSig[]::new)));
    StringBuilder text = new StringBuilder(name).append(": ");
    boolean plain = isInterface || kind.equals("enum") || isRecord;
    text.append(modifiers(own, plain ? Set.of(AccessFlag.PROTECTED) : SHOWN));
    Optional<List<ClassEntry>> permitted =
        model.findAttribute(Attributes.permittedSubclasses()).map(p -> p.permittedSubclasses());
    text.append(permitted.isPresent() ? "sealed " : "").append(kind);
    text.append(typeParameters(signature.typeParameters()));
    String parent = text(signature.superclassSignature());
    if (kind.equals("class") && !parent.equals("Object")) {
      text.append(" extends ").append(parent);
    }
    String interfaces =
        signature.superinterfaceSignatures().stream()
            .map(PublicApi::text)
            .collect(Collectors.joining(", "));
    text.append(interfaces.isEmpty() ? "" : " implements " + interfaces);
    return text.toString();
  }

  private static Signature.ClassTypeSig superclass(ClassModel model) {
    return Signature.ClassTypeSig.of(
        model.superclass().map(ClassEntry::asSymbol).orElse(ClassDesc.of("java.lang.Object")));
  }

  private static String text(FieldModel field) {
    Signature type =
        field
            .findAttribute(Attributes.signature())
            .map(a -> a.asTypeSignature())
            .orElseGet(() -> Signature.of(field.fieldTypeSymbol()));
    String value =
        field
            .findAttribute(Attributes.constantValue())
            .map(ConstantValueAttribute::constant)
            .map(c -> " = " + c.constantValue()) // compiled into whoever uses it
            .orElse("");
    return field.fieldName().stringValue()
        + ": "
        + modifiers(field.flags().flags(), SHOWN)
        + text(type)
        + value;
  }

  private String text(ClassModel owner, MethodModel method) {
    MethodSignature signature =
        method
            .findAttribute(Attributes.signature())
            .map(a -> a.asMethodSignature())
            .orElseGet(() -> MethodSignature.of(method.methodTypeSymbol()));
    boolean isInterface = owner.flags().has(AccessFlag.INTERFACE);
    Set<AccessFlag> own = method.flags().flags();
    boolean isDefault =
        isInterface && !own.contains(AccessFlag.ABSTRACT) && !own.contains(AccessFlag.STATIC);
    String parameters =
        signature.arguments().stream()
            .map(PublicApi::text)
            .collect(Collectors.joining(", ", "(", ")"));
    if (own.contains(AccessFlag.VARARGS)) {
      parameters = parameters.substring(0, parameters.length() - 3) + "...)";
    }
    String name = method.methodName().stringValue();
    String thrown =
        method
            .findAttribute(Attributes.exceptions())
            .map(a -> a.exceptions())
            .orElse(List.of())
            .stream()
            .map(e -> name(e.asInternalName()))
            .collect(Collectors.joining(", "));
    String line =
        (name.equals("<init>") ? "new" : name)
            + typeParameters(signature.typeParameters())
            + parameters
            + ": "
            + (isDefault ? "default " : "")
            + modifiers(own, SHOWN)
            + (name.equals("<init>") ? "" : text(signature.result()))
            + (thrown.isEmpty() ? "" : " throws " + thrown);
    return line.stripTrailing();
  }

  private static String modifiers(Set<AccessFlag> flags, Set<AccessFlag> shown) {
    return flags.stream()
        .filter(shown::contains)
        .sorted()
        .map(f -> f.name().toLowerCase(Locale.ROOT) + " ")
        .collect(Collectors.joining());
  }

  private static String typeParameters(List<Signature.TypeParam> parameters) {
    return parameters.isEmpty()
        ? ""
        : parameters.stream()
            .map(
                p ->
                    Stream.concat(p.classBound().stream(), p.interfaceBounds().stream())
                        .map(PublicApi::text)
                        .filter(bound -> !bound.equals("Object"))
                        .collect(Collectors.joining(" & ", p.identifier() + " extends ", "")))
            .map(p -> p.endsWith(" extends ") ? p.substring(0, p.length() - 9) : p)
            .collect(Collectors.joining(", ", "<", ">"));
  }

  private static String text(Signature signature) {
    return switch (signature) {
      case Signature.BaseTypeSig base ->
          ClassDesc.ofDescriptor(base.signatureString()).displayName();
      case Signature.TypeVarSig variable -> variable.identifier();
      case Signature.ArrayTypeSig array -> text(array.componentSignature()) + "[]";
      case Signature.ClassTypeSig type ->
          type.outerType().map(outer -> text(outer) + ".").orElse("")
              + name(type.className())
              + (type.typeArgs().isEmpty()
                  ? ""
                  : type.typeArgs().stream()
                      .map(PublicApi::text)
                      .collect(Collectors.joining(", ", "<", ">")));
    };
  }

  private static String text(Signature.TypeArg argument) {
    return switch (argument) {
      case Signature.TypeArg.Unbounded unbounded -> "?";
      case Signature.TypeArg.Bounded bounded ->
          switch (bounded.wildcardIndicator()) {
                case NONE -> "";
                case EXTENDS -> "? extends ";
                case SUPER -> "? super ";
              }
              + text(bounded.boundType());
    };
  }

  private static String name(String internal) {
    String name = internal.replace('/', '.').replace('$', '.');
    return name.matches("java\\.lang\\.[A-Z]\\w*") ? name.substring(10) : name;
  }
}
