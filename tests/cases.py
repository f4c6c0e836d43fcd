"""Which tests hold which case of the course's list of faults that stop learners (numbers as in learner_cases.md).

test_cases.py checks that every test named here exists. The cases of later notebooks are added with them.
"""

CASES = {
    1: [
        "test_project_files.py::test_nothing_asks_for_pylzma",
        "test_project_files.py::test_every_import_of_another_package_is_declared",
    ],
    2: ["test_project_files.py::test_no_file_names_a_package_index"],
    3: ["test_project_files.py::test_pip_finds_no_broken_requirement"],
    4: ["test_project_files.py::test_every_declared_package_imports_when_warnings_are_errors"],
    6: ["test_committed_notebooks.py::test_it_is_a_valid_notebook_for_the_python3_kernel"],
    7: ["test_notebooks_run.py::test_the_notebook_runs_to_its_end"],
    8: [
        "test_download.py::test_without_a_network_there_is_one_message_and_exit_code_1",
        "test_download.py::test_the_message_for_a_bad_certificate_says_so_and_no_second_try_is_made",
        "test_download.py::test_a_failed_first_download_leaves_no_file_at_all",
    ],
    9: ["test_download.py::test_the_command_works_from_any_folder_and_on_any_locale"],
    10: ["test_books.py::test_the_right_values_of_the_real_books"],
    11: ["test_books.py::test_a_byte_order_mark_and_every_kind_of_line_end_are_normalised"],
    12: ["test_tokenizer.py::test_an_unknown_character_is_named_with_its_position"],
    13: ["test_tokenizer.py::test_ids_of_another_vocabulary_are_refused"],
    14: ["test_tokenizer.py::test_any_unicode_text_round_trips"],
    16: ["test_batches.py::test_a_text_shorter_than_a_window_is_refused_with_both_lengths"],
    17: [
        "test_batches.py::test_every_start_is_drawn_and_every_window_is_full",
        "test_batches.py::test_targets_are_the_inputs_one_step_later",
    ],
    18: ["test_batches.py::test_a_part_that_would_be_too_small_is_refused"],
    19: ["test_batches.py::test_a_batch_of_one_works"],
    30: ["test_device.py::test_no_helper_uses_a_global_device_or_float64_on_a_device"],
    31: ["test_device.py::test_cuda_comes_before_mps_and_mps_before_the_cpu"],
    32: ["test_device.py::test_tensors_are_made_on_the_device_of_their_input"],
    33: ["test_device.py::test_an_mps_that_computes_something_else_is_left_with_a_warning"],
    34: ["test_device.py::test_no_helper_uses_a_global_device_or_float64_on_a_device"],
    36: ["test_gpt_and_training.py::test_a_missing_compiler_is_a_note_not_an_error"],
    39: ["test_gpt_and_training.py::test_changing_a_future_token_leaves_earlier_logits_unchanged"],
    40: ["test_gpt_and_training.py::test_a_sequence_longer_than_the_context_names_both_lengths"],
    42: ["test_reference_losses.py::test_the_counted_bigram_has_its_known_losses_on_the_book"],
    43: ["test_gpt_and_training.py::test_generation_crops_restores_the_mode_and_repeats_with_its_seed"],
    44: ["test_gpt_and_training.py::test_a_loss_that_is_not_finite_stops_with_advice_and_good_weights"],
    45: ["test_gpt_and_training.py::test_four_accumulated_batches_of_two_give_the_gradient_of_eight"],
    46: ["test_gpt_and_training.py::test_sampling_settings_do_what_they_say"],
    47: ["test_gpt_and_training.py::test_the_best_weights_are_kept_when_the_model_overfits"],
    50: ["test_gpt_and_training.py::test_twenty_steps_equal_ten_and_ten"],
    52: ["test_gpt_and_training.py::test_numbers_out_of_range_are_refused_by_the_commands"],
    53: ["test_gpt_and_training.py::test_train_and_generate_run_as_commands"],
    55: [
        "test_committed_notebooks.py::test_its_outputs_are_those_of_the_cells_it_shows",
        "test_gpt_and_training.py::test_training_again_says_that_it_continues",
    ],
    56: ["test_notebooks_run.py::test_the_notebook_runs_to_its_end"],
    60: ["test_committed_notebooks.py::test_it_is_a_valid_notebook_for_the_python3_kernel"],
    61: [
        "test_saving.py::test_what_must_not_be_stored_is_refused",
        "test_runner.py::test_a_flood_of_output_is_cut_off_and_named",
    ],
}  # fmt: skip
