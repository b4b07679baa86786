import pytest
import torch

from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.image_names import infer_persons
from elfw_helpers.data.splits import SplitWarning, draw_split, pick_faces
from elfw_helpers.utils.errors import DataError
from elfw_helpers.utils.paths import embedded_faces
from tests.faces import write_face


def lfw_like(people: int) -> tuple[list[str], torch.Tensor]:
    """Return names as in LFW, where most people have one photo and a few have many, and attributes."""
    generator = torch.Generator().manual_seed(1)
    names = []
    for person in range(people):
        photos = 1 + int(torch.empty(1).exponential_(0.7, generator=generator))
        names += [f"First_Last{person:04d}_{photo:04d}" for photo in range(1, photos + 1)]
    attributes = torch.multinomial(torch.tensor([0.6, 0.2, 0.2]), len(names), True, generator=generator)
    return names, attributes


def test_persons_by_lfw_s_naming():
    assert infer_persons(["George_W_Bush_0001", "George_W_Bush_0530", "Abdullah_0001"]) == [
        "George_W_Bush",
        "George_W_Bush",
        "Abdullah",
    ]


@pytest.mark.parametrize(
    "names",
    [
        ["face_0001", "face_0002"],
        ["IMG_1001", "IMG_1002", "DSC_1000", "DSC_1001"],
        ["IMG_20230101_0001", "IMG_20230101_0002", "IMG_E1234", "PXL_20230101_101010123"],
        ["2023_01_01_0001", "2023_01_01_0002", "20230101_0001"],
        ["DSCF0001", "DSCF0002", "Photo_Day_0001", "Photo_Day_0002", "Camera_A_0001", "Camera_A_0002"],
        ["WhatsApp Image 2023-01-01 at 10.00.00", "WhatsApp Image 2023-01-01 at 10.00.00_0001"],
        ["0b2c3f54-7d51-4a0e-9f6b-1d2e3f405162", "0b2c3f54-7d51-4a0e-9f6b-1d2e3f405163"],
        ["LRM_EXPORT_0001", "LRM_EXPORT_0002", "EOS_R_0001", "EOS_R_0002", "Fuji_XT_0001", "Fuji_XT_0002"],
        ["Galaxy_S_0001", "Galaxy_S_0002", "Cam_A_0001", "Cam_A_0002", "Left_Cam_0001", "Left_Cam_0002"],
        ["My_Photos_0001", "My_Photos_0002", "Images_A_0001", "Images_A_0002", "Scans_A_1", "Scans_A_2"],
        ["Foto_Nr_1", "Foto_Nr_2", "Bild_Nr_1", "Bild_Nr_2", "Kamera_A_1", "Kamera_A_2"],
        [
            "Screen_Shot_1",
            "Screen_Shot_2",
            "Portrait_Mode_1",
            "Portrait_Mode_2",
            "Snap_Chat_1",
            "Snap_Chat_2",
        ],
        ["RAW_Export_1", "RAW_Export_2", "New_Folder_1", "New_Folder_2", "Burst_Cover_1", "Burst_Cover_2"],
        ["Test_Set_1", "Test_Set_2", "CelebA_HQ_1", "CelebA_HQ_2", "Persons_1", "Persons_2"],
        [
            "P1010001",
            "P1010002",
            "20230101_120000",
            "IMG-20230101-WA0001",
            "DJI_0001",
            "GOPR0001",
            "GOPR0002",
        ],
        ["black_cap_0001", "black_cap_0002", "glasses_0001", "glasses_0002", "Scan_1", "Scan_2"],
    ],
)
def test_numbers_of_photos_are_not_taken_for_persons(names):
    assert infer_persons(names) == names


def test_persons_in_other_alphabets_and_of_the_embedded_faces():
    assert infer_persons(["Łukasz_Żak_0001", "李_明_0002", "person_0012_0003", "O'Neal_Ryan-Lee_0001"]) == [
        "Łukasz_Żak",
        "李_明",
        "person_0012",
        "O'Neal_Ryan-Lee",
    ]


@pytest.mark.filterwarnings("ignore::elfw_helpers.data.splits.SplitWarning")
def test_a_list_of_persons_wins_over_the_names(folder):
    names = FaceFolder(folder).names
    lines = [f"{name}.png\tDr. {number // 3}" for number, name in enumerate(names)]
    (folder / "persons.txt").write_text("name\tperson\n" + "\n".join(lines), encoding="utf-8")
    faces = FaceFolder(folder)
    assert faces.layout.persons_from == "by persons.txt"
    assert faces.persons == [f"Dr. {number // 3}" for number in range(60)]
    split = faces.split()
    assert not {faces.persons[i] for i in split.train.tolist()} & {
        faces.persons[i] for i in split.test.tolist()
    }
    (folder / "persons.txt").write_text("\n".join(lines[1:]), encoding="utf-8")
    with pytest.raises(DataError, match="image without a person in persons.txt"):
        FaceFolder(folder)


@pytest.mark.parametrize("seed", range(5))
def test_split_is_80_10_10_stratified_and_by_person(seed, tmp_path):
    names, attributes = lfw_like(900)
    persons = infer_persons(names)
    split = draw_split(tmp_path, attributes, persons, seed)
    parts = (split.train, split.validation, split.test)
    assert torch.cat(parts).sort().values.tolist() == list(range(len(names)))
    for part, share in zip(parts, (0.8, 0.1, 0.1), strict=True):
        assert len(part) == pytest.approx(share * len(names), rel=0.05)
        mix = torch.bincount(attributes[part]) / len(part)
        assert torch.allclose(mix, torch.bincount(attributes) / len(names), atol=0.03)
    people = [{persons[index] for index in part.tolist()} for part in parts]
    assert not people[0] & people[1] and not people[0] & people[2] and not people[1] & people[2]


def test_split_depends_on_the_seed_alone(tmp_path):
    names, attributes = lfw_like(200)
    first, again, other = (draw_split(tmp_path, attributes, infer_persons(names), seed) for seed in (3, 3, 4))
    assert torch.equal(first.test, again.test)
    assert not torch.equal(first.test, other.test)


def test_too_few_people_to_hold_out_a_tenth(tmp_path):
    for person in range(9):
        write_face(tmp_path, f"Person_{person}x_0001", person % 3, person)
    with pytest.raises(DataError, match="9 people are too few to cut.*Add photos of 1 more"):
        FaceFolder(tmp_path).split()


def test_frozen_lists_win(folder):
    names = FaceFolder(folder).names
    for split, chosen in (("test", names[:10]), ("validation", names[10:20]), ("train", names[20:])):
        (folder / f"{split}.txt").write_text("\n".join(reversed(chosen)), encoding="utf-8")
    faces = FaceFolder(folder)
    for seed in (0, 1):
        split = faces.split(seed)
        assert split.test.tolist() == list(range(10))
        assert split.train.tolist() == list(range(20, 60))


def test_people_of_the_held_out_list_are_kept_out_of_training(folder):
    (folder / "elfw_set_00.txt").write_text(
        "Some_Person00_0001\nSome_Person01_0001\nSome_Person03_0001\n", encoding="utf-8"
    )
    faces = FaceFolder(folder)
    split = faces.split()
    assert [faces.names[index] for index in split.test] == [f"Some_Person0{n}_0001" for n in (0, 1, 3)]
    used = {faces.persons[index] for index in torch.cat([split.train, split.validation]).tolist()}
    assert used == {f"Some_Person{number:02d}" for number in range(30)} - {
        f"Some_Person0{number}" for number in (0, 1, 3)
    }
    assert 4 <= len(split.validation) <= 8


def test_class_without_a_test_image_warns_and_says_what_to_do(folder):
    (folder / "elfw_set_00.txt").write_text("Some_Person00_0001\nSome_Person01_0001\n", encoding="utf-8")
    with pytest.warns(SplitWarning, match="no cap in the test split.*Add images of cap.*another seed"):
        FaceFolder(folder).split()


def test_too_few_images_of_every_class_are_refused_with_advice(tmp_path):
    attributes = torch.tensor([0] * 6 + [1] * 2 + [2] * 2)
    with pytest.raises(DataError, match="6 images of hair, .* too few for 10 parts. Add 4 more.*by hand"):
        draw_split(tmp_path, attributes, [f"Person_{number}" for number in range(10)])


@pytest.mark.parametrize("by_list", [False, True])
def test_a_held_out_list_that_leaves_nobody_is_refused(folder, by_list):
    names = FaceFolder(folder).names
    if by_list:
        (folder / "persons.txt").write_text("\n".join(f"{name} Ann" for name in names), encoding="utf-8")
    (folder / "elfw_set_00.txt").write_text("\n".join(names[:1] if by_list else names), encoding="utf-8")
    with pytest.raises(DataError, match="nobody is left to train with. Take people off the list"):
        FaceFolder(folder).split()


def test_one_person_is_said_in_the_singular(tmp_path):
    with pytest.raises(DataError, match="1 person is too few.*Add photos of 9 more, or write train.txt"):
        draw_split(tmp_path, torch.zeros(20, dtype=torch.long), ["Ann"] * 20)


def test_one_name_before_most_of_many_photos_is_no_person():
    album = [f"Lago_Maggiore_{number:04d}" for number in range(1, 31)]
    assert infer_persons([*album, "Ann_Lee_0001", "Ann_Lee_0002"]) == [*album, "Ann_Lee", "Ann_Lee"]
    # A small folder may well show one person.
    assert infer_persons(album[:29]) == ["Lago_Maggiore"] * 29
    assert set(infer_persons([f"person_0001_{number:04d}" for number in range(60)])) == {"person_0001"}


def test_names_of_all_kinds_as_in_lfw():
    people = ["Madonna", "Jean-Pierre_Raffarin", "Luiz_Inacio_Lula_da_Silva", "Saud_al_Faisal", "JK_Rowling"]
    people += [
        "E_Clay_Shaw",
        "Queen_Elizabeth_II",
        "Roy_Jones_Jr",
        "Abdullah",
        "Tang_Jiaxuan",
        "George_HW_Bush",
    ]
    names = [f"{person}_{number:04d}" for person in people for number in (1, 2)]
    cameras = ["SAM_0001", "SAM_0002", "IMGP_0001", "IMGP_0002"]
    assert infer_persons(names + cameras) == [person for person in people for _ in (1, 2)] + cameras


def test_every_person_of_the_embedded_faces_is_known():
    assert len(set(FaceFolder(embedded_faces()).persons)) == 1019


def test_faces_to_look_at_take_the_attributes_in_turn_and_vary_with_the_seed():
    attributes = torch.tensor([0] * 30 + [1] * 8 + [2] * 2)
    among = torch.arange(1, 40)
    picked = pick_faces(attributes, among, 9, seed=0)
    assert attributes[picked].tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 0]
    assert len(set(picked.tolist())) == 9 and 0 not in picked
    assert torch.equal(picked, pick_faces(attributes, among, 9, seed=0))
    assert not torch.equal(picked, pick_faces(attributes, among, 9, seed=1))
    assert sorted(pick_faces(attributes, among, 99, seed=0).tolist()) == among.tolist()
    assert pick_faces(attributes, among[:0], 3, seed=0).tolist() == []
