// What each class is, for people who are no dermatologists. A class of another data set has none.

const MEANINGS = {
  akiec:
    "Actinic keratosis is a rough patch on skin that has had much sun; a small share of them " +
    "become squamous cell carcinoma in time. Bowen's disease is such a cancer at its earliest, " +
    "still only in the top layer of the skin. Both can be treated well, and a doctor should see them.",
  bcc:
    "The most common skin cancer. It grows slowly and very rarely spreads to the rest of the body, " +
    "but it does not go away by itself and can damage what lies around it, so it is treated.",
  bkl:
    "Harmless growths and spots that come with age and sun: seborrhoeic keratosis, solar lentigo and " +
    "lichen-planus-like keratosis. They are not cancer, but some look much like a melanoma.",
  df:
    "A small, firm, harmless nodule in the skin, often on the lower leg. It seldom needs treatment.",
  mel:
    "A cancer of the cells that make the skin's pigment. It can spread to the rest of the body, and " +
    "found early it can most often be cured by cutting it out. Let a doctor see a suspicion soon, " +
    "whatever a program says.",
  nv:
    "A mole: a harmless group of cells that make pigment. Most people have several. Show one to a doctor " +
    "if it changes, bleeds, is new and growing, or looks unlike your others.",
  vasc:
    "Made of blood vessels or blood: haemangiomas such as cherry-red spots, angiokeratomas, pyogenic " +
    "granulomas and bleeding in the skin. Most are harmless; one that bleeds or grows fast should be seen.",
};

export function meaningOf(name) {
  return Object.hasOwn(MEANINGS, name) ? MEANINGS[name] : null;
}
