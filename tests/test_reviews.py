"""A hard look at version 0.1.0 found these faults; each has a test that fails without its mend.

Beside ``tests/test_defects.py``, which has the defects of other systems. The entries are those of
the look's own pages: the numbers (by section), its use ("Broken"), and what people bring (cases).
"""

import ast
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent

ITEMS = """
1 a copied data set keeps its digest           test_own_data::test_a_copy_with_other_tensors_has_another_digest
                                               test_identity_runs::test_a_changed_copy_of_a_data_set_is_another_data_set
1 an augmentation is its repr                  test_identity_runs::test_the_strength_of_an_augmentation_counts_and_its_address_does_not
1 a base class in another file                 test_identity_runs::test_the_forward_pass_of_a_base_class_in_another_file_counts
1 what runs is not what is on disk             test_identity_runs::test_a_file_edited_while_its_old_code_runs_stops_the_work
1 memories keyed by the spec alone             test_identity_runs::test_a_model_redefined_wider_in_one_process_is_another_model
                                               test_identity::test_memories_follow_a_redefinition
1 workers never compare (case 03)              test_identity_runs::test_a_worker_that_builds_another_data_set_trains_nothing_on_it
1 keys too strong: versions of Python          test_identity::test_the_digest_of_a_text_is_the_same_in_every_version_of_python
1 keys too strong: docstrings, other code      test_identity::test_an_edit_that_changes_no_result_keeps_the_key
1 keys too strong: names in a full mask        test_identity_runs::test_a_full_mask_is_the_same_whatever_it_names
1 keys too strong: recipe.curves               test_study::test_test_and_train_are_on_the_way_only_when_a_recipe_asks
1 edits that change results                    test_identity::test_an_edit_that_changes_results_changes_the_key
2 a partial save ends a study                  test_resume::test_a_member_goes_on_from_every_block_of_every_arm
                                               test_store::test_tensors_that_share_memory_are_kept_each_by_itself
3 gradient scores draw unseeded                test_controls::test_a_score_through_dropout_draws_from_its_own_stream
4 controls made of masked weights              test_product::test_on_paper_every_combination_is_what_it_says
                                               test_controls::test_freeze_grown_is_what_grew_since_the_initial_weights_under_every_rule
5 search cost forgets the start                test_controls::test_a_search_costs_what_mask_and_start_took_each_once
5 layer counts of a searched ticket            test_controls::test_counts_of_layers_cost_the_search_where_layers_are_pruned_together
5 RigL's FLOPs                                 test_dynamic::test_in_a_study_they_end_as_dense_as_the_ticket_and_cost_what_they_trained
6 the verdict hides trials that ended          test_verdict::test_trials_that_ended_are_told_and_nothing_is_certified
6 run and analyse disagree                     test_verdict::test_words_and_table_give_one_answer
6 two equal trials match                       test_verdict::test_trials_of_equal_accuracy_tell_nothing
7 recalibration mixes two regimes              test_analysis::test_a_network_has_no_barrier_to_itself
8 longer from a late start                     test_controls::test_twice_as_long_is_twice_as_many_updates_and_the_schedule_with_them
8 one diverged ticket ends others              test_controls::test_one_diverged_ticket_ends_only_what_descends_from_it
8 a ticket keeps 7 of its 13 fields            test_ticket_fields::test_every_field_comes_back_from_the_store
                                               test_ticket_fields::test_every_field_comes_back_from_a_file
8 two densities                                test_ticket_fields::test_densities_are_those_of_the_records
8 the training loss is the metric              test_identity_runs::test_an_arm_that_trains_another_loss_is_measured_like_its_neighbours
8 yerr below 0; a mean outside its range       test_statistics::test_a_mean_lies_within_its_range
                                               test_table::test_a_mean_is_printed_inside_its_range
8 Zhou's sign criteria                         test_score::test_criteria_are_their_formulas
8 rigl_longer                                  test_controls::test_rigl_for_longer_changes_its_mask_as_often
8 frankle2021/synflow                          test_models::test_pruning_at_initialisation_starts_as_its_authors_do
8 an early bird's vacuous threshold            test_controls::test_an_early_birds_threshold_that_any_mask_meets_is_refused_before_work
                                               test_controls::test_an_early_bird_compares_the_newest_mask_with_each_of_those_before
8 Bernoulli supermasks                         test_controls::test_the_gradient_of_a_gate_flows_through_the_rescaling_as_it_does_in_their_code
                                               test_controls::test_ten_samples_are_measured_and_their_mean_is_told
8 transferred with another seed                test_controls::test_a_transfer_whose_initialisation_would_stay_behind_is_refused
8 ties go by index                             test_prune::test_constant_scores_delete_no_rows_and_other_seeds_other_weights
8 32 bits of a seed                            test_streams::test_trials_whose_generators_would_be_one_are_refused

use: a glob sweep trains nothing               test_readme::test_every_sweep_has_jobs_and_each_composes
use: MissingSnapshot side by side              test_side_by_side::test_studies_that_need_other_states_of_one_dense_run_do_not_meet
use: a narrower command replaces records       test_holdings::test_a_narrower_command_changes_no_byte
use: colours and markers repeat                test_drawing::test_no_two_of_forty_arms_look_alike
use: a dodge without bound                     test_drawing::test_arms_are_told_apart_and_stand_at_their_density
use: curves labelled by another arm            test_drawing::test_curves_are_named_by_their_own_density
use: a supermask under the ladder's rows       test_table::test_an_arm_stands_under_its_own_density
use: module() loses its mask                   test_kept::test_pruned_weights_stay_exactly_zero
use: a logger asked for later                  test_holdings::test_a_logger_asked_for_later_is_told_of_all_once
use: compare's reference                       test_compare::test_the_reference_is_the_ticket_of_iterative_magnitude_pruning
use: seeds are not pooled                      test_compare::test_studies_that_differ_in_seed_alone_are_pooled
use: Ctrl-C in the first seconds               test_interrupt
use: "a worker failed" (case 07)               test_errors

case 04 a feature constant in training         test_own_data::test_a_feature_without_spread_is_left_at_its_distance_from_the_mean
case 05 a random reinit that is none           test_networks::test_equal_draws_are_reported_once_before_work
case 06 reparametrised weights                 test_networks::test_a_weight_is_pruned_through_the_parameter_whose_zeros_are_its_own
                                               test_networks::test_a_weight_without_zeros_of_its_own_is_refused_and_may_be_spared
case 07 outputs that differ in training        test_networks::test_what_goes_wrong_in_training_only_is_refused_before_work
case 08 momentum without a gradient            test_networks::test_momentum_trains_parameters_without_gradients_as_torch_does
case 09 objects instead of factories           test_settings::test_an_object_is_refused_in_a_short_line_that_says_where
case 10 what is never pruned                   test_networks::test_these_are_pruned
                                               test_networks::test_what_is_left_out_is_said_with_its_share
case 11 tuples become lists                    test_settings::test_a_tuple_stays_one_in_python_and_from_a_file
case 12 float64 and numpy inputs               test_own_data::test_measurements_of_any_dtype_are_normalised_float32
case 13 non-persistent buffers                 test_networks::test_buffers_of_all_kinds_are_exported_as_they_were_trained
case 15 an unused weight                       test_networks::test_a_weight_that_is_not_used_scores_0
case 16 GraSP on flash attention               test_networks::test_grasp_takes_the_attention_that_has_a_second_derivative
case 17 SynFlow and LayerNorm                  test_networks::test_synflow_refuses_a_norm_that_recentres_by_name_before_work
case 18 frozen parameters on a GPU             test_networks::test_a_frozen_weight_stays_on_both_engines_and_is_not_pruned
case 20 tickets from elsewhere                 test_from_state::test_files_of_torch_save_as_openlth_writes_them
                                               test_from_state::test_never_a_silent_fresh_draw
case 21 own data share a study                 test_reviews::test_two_folders_of_data_are_two_studies
case 22 a narrower command; flags              test_sweep::test_settings_may_stand_on_both_sides_of_a_flag
case 24 targets that are no classes            test_own_data::test_targets_that_are_no_classes_are_refused_by_name
case 26 the output layer is a guess            test_networks::test_the_output_layer_is_the_one_that_gives_the_logits
case 27 arms and other dtypes                  test_zoo::test_it_goes_all_the_way
case 28 token data                             test_own_data::test_whole_numbers_are_tokens_and_pass_as_they_are
case 29 numpy numbers                          test_settings::test_numbers_of_any_kind_are_numbers
case 31 YAMLs of one's own from Python         test_settings::test_ones_own_yamls_are_named_from_python

files: a ticket that names os.system           test_trust::test_a_ticket_file_calls_nothing
files: a study's folder that does              test_trust::test_a_studys_folder_calls_nothing
files: shape bombs                             test_trust::test_no_more_memory_is_taken_than_the_file_brings
files: path tricks                             test_trust::test_a_key_that_leads_elsewhere_is_refused_and_nothing_removed
files: any mutation                            test_fuzz
"""  # noqa: E501


def named():
    """Yield every test that the table names, with the fault it stands for."""
    fault = ""
    for line in filter(None, ITEMS.splitlines()):
        fault = line[:46].strip() or fault
        yield fault, line[46:].strip()


@cache
def functions_of(module):
    tree = ast.parse((FOLDER / f"{module}.py").read_text(encoding="utf-8"))
    return {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize(("fault", "test"), [*named()], ids=lambda value: value[:60])
def test_every_fault_has_its_test(fault, test):
    module, _, name = test.partition("::")
    assert functions_of(module)
    assert not name or name in functions_of(module), f"{fault}: {test}"


def test_every_section_and_case_is_in_the_table():
    faults = [fault for fault, _ in named()]
    for start in [*"12345678", "use:", "files:"]:
        assert any(f.startswith(start) for f in faults)
    cases = {f.split()[1] for f in faults if f.startswith("case")}
    assert len(cases) == 23  # and 03, with the workers


def folder(root: str):
    import torch

    from lth.data import tensors

    generator = torch.Generator().manual_seed(len(root))
    x, y = torch.rand(60, 1, 4, 4, generator=generator), torch.arange(60) % 4
    return tensors("folder", (x[:40], y[:40]), (x[40:], y[40:]), 10)


def test_two_folders_of_data_are_two_studies(tmp_path):
    import lth

    made = [
        lth.run(
            data={"_target_": "tests.test_reviews.folder", "root": root}, logger="none", trials=1,
            model={"_target_": "tests.toys.mlp"}, levels=0, rewind="to_init", progress=False,
            recipe={"steps": 4, "batch": 10, "eval_every": 4}, trainer={"workers": 0},
            arms=["winning_ticket"], out=str(tmp_path / "out"),
        ) for root in ("cats", "animals")
    ]  # fmt: skip
    assert made[0].folder != made[1].folder
    assert [s.provenance["trained"] for s in made] == [1, 1]
