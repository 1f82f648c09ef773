// SPDX-License-Identifier: Apache-2.0
package io.sfumato.architecture;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.members;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.GeneralCodingRules.ACCESS_STANDARD_STREAMS;

import com.tngtech.archunit.core.domain.JavaClass;
import com.tngtech.archunit.core.domain.JavaCodeUnit;
import com.tngtech.archunit.core.domain.JavaField;
import com.tngtech.archunit.core.domain.JavaMember;
import com.tngtech.archunit.core.domain.JavaModifier;
import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchCondition;
import com.tngtech.archunit.lang.ArchRule;
import com.tngtech.archunit.lang.ConditionEvents;
import com.tngtech.archunit.lang.SimpleConditionEvent;
import java.util.Set;
import java.util.stream.Stream;

/** The arrows between modules, checked on the compiled classes of all of them. */
@AnalyzeClasses(
    packages = "io.sfumato",
    importOptions = {ImportOption.DoNotIncludeTests.class, ArchitectureTest.NoTestJars.class})
final class ArchitectureTest {
  /** Leaves out jars of test classes, as modules hand them on once they are packaged. */
  static final class NoTestJars implements ImportOption {
    @Override
    public boolean includes(com.tngtech.archunit.core.importer.Location location) {
      return !location.contains("-tests.jar");
    }
  }

  private static final String TENSOR = "io.sfumato.tensor..";
  private static final String AUTOGRAD = "io.sfumato.autograd..";
  private static final String CUDA = "io.sfumato.cuda..";
  private static final String MODELS = "io.sfumato.models..";
  private static final String BENCHMARKS = "io.sfumato.benchmarks..";

  private static final Set<String> REFLECTIVE =
      Set.of(
          "java.lang.Class.forName",
          "java.lang.Class.newInstance",
          "java.lang.Class.getDeclaredField",
          "java.lang.Class.getDeclaredMethod",
          "java.lang.Class.getMethod",
          "java.lang.ClassLoader.loadClass",
          "java.lang.invoke.MethodHandles.privateLookupIn",
          "java.lang.invoke.MethodHandles$Lookup.findVirtual",
          "java.lang.invoke.MethodHandles$Lookup.unreflect");

  @ArchTest static final ArchRule tensorKnowsNoOtherModule = module(TENSOR, AUTOGRAD, CUDA, MODELS);

  @ArchTest static final ArchRule autogradKnowsTensorOnly = module(AUTOGRAD, CUDA, MODELS);

  @ArchTest static final ArchRule cudaKnowsTensorOnly = module(CUDA, AUTOGRAD, MODELS);

  @ArchTest static final ArchRule modelsKnowNoBackend = module(MODELS, CUDA);

  @ArchTest
  static final ArchRule tensorAndAutogradUseTheJdkAndEjmlOnly =
      classes()
          .that()
          .resideInAnyPackage(TENSOR, AUTOGRAD)
          .should()
          .onlyDependOnClassesThat()
          .resideInAnyPackage(
              TENSOR,
              AUTOGRAD,
              "java..",
              "javax.management..", // of the JDK, too: compiler directives go by it
              "jdk.incubator.vector..",
              "org.ejml..",
              "org.jspecify..");

  @ArchTest
  static final ArchRule vectorsStayInTheSimdPackageAndInBenchmarks =
      noClasses()
          .that()
          .resideOutsideOfPackages("io.sfumato.tensor.cpu.simd..", BENCHMARKS)
          .should()
          .dependOnClassesThat()
          .resideInAPackage("jdk.incubator..");

  @ArchTest
  static final ArchRule bindingsStayInTheCudaModule =
      noClasses()
          .that()
          .resideOutsideOfPackages(CUDA, BENCHMARKS)
          .should()
          .dependOnClassesThat()
          .resideInAPackage("jcuda..");

  @ArchTest
  static final ArchRule bindingsAreNoPartOfTheInterface =
      members()
          .that()
          .areDeclaredInClassesThat()
          .resideInAPackage(CUDA)
          .should(showNoBinding())
          .allowEmptyShould(true);

  @ArchTest
  static final ArchRule onlyProgramsPrint =
      noClasses()
          .that()
          .resideOutsideOfPackages(
              "io.sfumato.models.cli..", "io.sfumato.models.examples..", BENCHMARKS)
          .and()
          .doNotHaveFullyQualifiedName("io.sfumato.models.train.Progress") // bars are shown
          .should(ACCESS_STANDARD_STREAMS);

  @ArchTest
  static final ArchRule theCommandLineFindsTheExamplesByTheirService =
      noClasses()
          .that()
          .resideInAPackage("io.sfumato.models.cli..")
          .should()
          .dependOnClassesThat()
          .resideInAPackage("io.sfumato.models.examples..");

  /**
   * The library is plain Java, so that it works in modules, in jlinked runtimes and under any class
   * loader. Exceptions, each with its reason:
   *
   * <ul>
   *   <li>{@code Simd} makes the one class that uses the Vector API by its name, since that class
   *       must not be touched where the incubating module is missing;
   *   <li>{@code CompilerDirectives} reads the names of the loops' public methods, and calls none;
   *   <li>{@code Interrupts} reaches {@code sun.misc.Signal} by names, since javac warns of every
   *       mention of it.
   * </ul>
   */
  @ArchTest
  static final ArchRule noReflectionAndNoInternalsOfTheJdk =
      noClasses()
          .that()
          .resideInAnyPackage(TENSOR, AUTOGRAD, CUDA, MODELS)
          .and()
          .doNotHaveFullyQualifiedName("io.sfumato.tensor.cpu.Simd")
          .and()
          .doNotHaveFullyQualifiedName("io.sfumato.tensor.cpu.simd.CompilerDirectives")
          .and()
          .doNotHaveFullyQualifiedName("io.sfumato.models.train.Interrupts")
          .should(useReflection());

  private static ArchCondition<JavaClass> useReflection() {
    return new ArchCondition<>("use reflection or internals of the JDK") {
      @Override
      public void check(JavaClass type, ConditionEvents events) {
        type.getDirectDependenciesFromSelf().stream()
            .filter(d -> !d.getTargetClass().getName().equals("java.lang.reflect.Array")) // data
            .filter(d -> isInternal(d.getTargetClass().getBaseComponentType().getPackageName()))
            .forEach(d -> found(d.getDescription(), type, events));
        type.getMethodCallsFromSelf().stream()
            .filter(c -> REFLECTIVE.contains(c.getTargetOwner().getName() + "." + c.getName()))
            .forEach(c -> found(c.getDescription(), type, events));
      }

      private void found(String what, JavaClass type, ConditionEvents events) {
        events.add(SimpleConditionEvent.satisfied(type, what));
      }
    };
  }

  private static boolean isInternal(String name) {
    return Stream.of("java.lang.reflect", "sun", "com.sun", "jdk.internal")
            .anyMatch(p -> name.equals(p) || name.startsWith(p + "."))
        && !name.equals("com.sun.management"); // exported by jdk.management
  }

  private static ArchRule module(String from, String... unknown) {
    return noClasses()
        .that()
        .resideInAPackage(from)
        .should()
        .dependOnClassesThat()
        .resideInAnyPackage(
            Stream.concat(Stream.of(unknown), Stream.of(BENCHMARKS)).toArray(String[]::new));
  }

  private static ArchCondition<JavaMember> showNoBinding() {
    return new ArchCondition<>("show no jcuda type to users") {
      @Override
      public void check(JavaMember member, ConditionEvents events) {
        if (!visible(member.getModifiers()) || !visible(member.getOwner().getModifiers())) {
          return;
        }
        Stream<JavaClass> shown =
            switch (member) {
              case JavaField field -> Stream.of(field.getRawType());
              case JavaCodeUnit code ->
                  Stream.concat(
                      Stream.of(code.getRawReturnType()), code.getRawParameterTypes().stream());
              default -> Stream.of();
            };
        shown
            .filter(type -> type.getBaseComponentType().getPackageName().startsWith("jcuda"))
            .forEach(
                type ->
                    events.add(
                        SimpleConditionEvent.violated(
                            member, member.getFullName() + " shows " + type.getName())));
      }
    };
  }

  private static boolean visible(Set<JavaModifier> modifiers) {
    return modifiers.contains(JavaModifier.PUBLIC) || modifiers.contains(JavaModifier.PROTECTED);
  }
}
