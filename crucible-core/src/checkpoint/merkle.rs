//! The Merkle tree of RFC 6962, section 2.1: one hash over many leaves, and short proofs of
//! inclusion.

use serde::{Deserialize, Serialize};

use crate::model::Digest;

/// Computes the hash of a leaf: over a zero byte and the content, so that no leaf equals an inner
/// node.
#[must_use]
pub fn leaf_hash(content: &[u8]) -> Digest {
    let mut bytes = Vec::with_capacity(content.len() + 1);
    bytes.push(0);
    bytes.extend_from_slice(content);
    Digest::of(&bytes)
}

/// Computes the hash of an inner node.
fn node_hash(left: Digest, right: Digest) -> Digest {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(&left.to_bytes());
    bytes[33..].copy_from_slice(&right.to_bytes());
    Digest::of(&bytes)
}

/// Computes the root over the hashes of all leaves in order. Without leaves, it is the hash of the
/// empty string.
#[must_use]
pub fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(root(left), root(right))
        }
    }
}

/// Returns the number of leaves on the left: the largest power of two below `count`, which is at
/// least two.
fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// A proof that a tree has a leaf at an index: the sibling hashes on the path to the root, the
/// lowest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Inclusion {
    /// The index of the leaf, from 0.
    pub index: u64,
    /// The number of leaves in the tree.
    pub count: u64,
    /// The sibling hashes on the path.
    pub path: Vec<Digest>,
}

impl Inclusion {
    /// Creates the proof for the leaf at `index`; returns `None` if there is no such leaf.
    #[must_use]
    pub fn of(leaves: &[Digest], index: usize) -> Option<Self> {
        if index >= leaves.len() {
            return None;
        }
        let (mut rest, mut at, mut path) = (leaves, index, Vec::new());
        while rest.len() > 1 {
            let (left, right) = rest.split_at(split(rest.len()));
            if at < left.len() {
                path.push(root(right));
                rest = left;
            } else {
                path.push(root(left));
                at -= left.len();
                rest = right;
            }
        }
        path.reverse();
        Some(Self { index: index as u64, count: leaves.len() as u64, path })
    }

    /// Computes the root of a tree with this leaf at the proof's index; returns `None` if the proof
    /// is invalid.
    #[must_use]
    pub fn root(&self, leaf: Digest) -> Option<Digest> {
        // RFC 9162, section 2.1.3.2.
        let (mut index, mut last) = (self.index, self.count.checked_sub(1)?);
        if index > last {
            return None;
        }
        let mut hash = leaf;
        for sibling in &self.path {
            if last == 0 {
                return None;
            }
            if index % 2 == 1 || index == last {
                hash = node_hash(*sibling, hash);
                // At these levels the node has no sibling.
                while index % 2 == 0 && index != 0 {
                    index >>= 1;
                    last >>= 1;
                }
            } else {
                hash = node_hash(hash, *sibling);
            }
            index >>= 1;
            last >>= 1;
        }
        (last == 0).then_some(hash)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Test vectors of Certificate Transparency.
    const INPUTS: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];

    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    #[test]
    fn roots_match_standard_test_vectors() {
        let leaves: Vec<_> = INPUTS.iter().map(|input| leaf_hash(input)).collect();
        for (count, expected) in (1..).zip(ROOTS) {
            assert_eq!(root(&leaves[..count]).to_string(), expected, "{count}");
        }
        assert_eq!(root(&[]), Digest::of(b""));
    }

    proptest! {
        #[test]
        fn proof_is_valid_only_for_its_leaf(
            count in 1_usize..200,
            at in any::<prop::sample::Index>(),
            other in any::<prop::sample::Index>(),
        ) {
            let leaves: Vec<_> = (0..count).map(|n| leaf_hash(&n.to_le_bytes())).collect();
            let (at, other) = (at.index(count), other.index(count));
            let proof = Inclusion::of(&leaves, at).unwrap();
            prop_assert_eq!(proof.root(leaves[at]), Some(root(&leaves)));
            if other != at {
                prop_assert_ne!(proof.root(leaves[other]), Some(root(&leaves)));
                let moved = Inclusion { index: other as u64, ..proof.clone() };
                prop_assert_ne!(moved.root(leaves[at]), Some(root(&leaves)));
            }
            let mut longer = proof.clone();
            longer.path.push(Digest::ZERO);
            prop_assert_ne!(longer.root(leaves[at]), Some(root(&leaves)));
        }

        #[test]
        fn arbitrary_proof_terminates(index: u64, count: u64, length in 0_usize..70) {
            let proof = Inclusion { index, count, path: vec![Digest::ZERO; length] };
            // The result is arbitrary, but the computation must end.
            let _root = proof.root(Digest::ZERO);
        }
    }

    #[test]
    fn missing_leaf_has_no_proof() {
        assert_eq!(Inclusion::of(&[], 0), None);
        assert_eq!(Inclusion::of(&[Digest::ZERO], 1), None);
    }
}
